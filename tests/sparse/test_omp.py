import numpy as np
import pytest
import torch
from sklearn.linear_model import orthogonal_mp

from narrows.sparse import omp, top_k

pytestmark = pytest.mark.usefixtures("path")


@pytest.mark.parametrize("k", [1, 3, 8])
def test_codes_are_those_of_scikit_learn(k, problem):
    signals, atoms = problem(n=60, size=50, dim=20)
    expected = orthogonal_mp(atoms.numpy().T, signals.numpy().T, n_nonzero_coefs=k).T
    np.testing.assert_allclose(omp(signals, atoms, k=k).codes.numpy(), expected, atol=1e-10)


def test_single_precision_chooses_the_same_atoms(problem):
    signals, atoms = problem(n=300, size=64, dim=24)
    single, double = omp(signals.float(), atoms.float(), k=6), omp(signals, atoms, k=6)
    assert (single.atoms == double.atoms).all(1).double().mean() > 0.99


def test_the_residual_is_orthogonal_to_the_chosen_atoms(problem):
    signals, atoms = problem()
    solution = omp(signals, atoms, k=5)
    residual = signals - solution.codes @ atoms
    products = torch.einsum("nd,nwd->nw", residual, atoms[solution.atoms])
    assert products.abs().max() < 1e-12
    assert (solution.l0 == 5).all()
    torch.testing.assert_close(solution.objective, residual.square().sum(1) / 2)


def test_it_recovers_exactly_sparse_signals_over_an_incoherent_dictionary(problem):
    _, atoms = problem(n=1, size=60, dim=40)
    generator = torch.Generator().manual_seed(5)
    codes = torch.zeros(200, 60, dtype=torch.float64)
    for row in codes:
        row[torch.randperm(60, generator=generator)[:2]] = torch.tensor([3.0, -2.0]).double()
    found = omp(codes @ atoms, atoms, k=2).codes
    exact = ((found - codes).abs().amax(1) < 1e-9).double().mean()
    assert exact > 0.95  # coherence admits a few failures


def test_it_is_never_farther_than_the_one_shot_code(problem):
    signals, atoms = problem(n=200)
    greedy, one_shot = omp(signals, atoms, k=4), top_k(signals, atoms, k=4, refit=True)
    assert greedy.objective.mean() < one_shot.objective.mean()


def test_a_tolerance_stops_each_signal_at_its_own_size(problem):
    signals, atoms = problem(n=100)
    solution = omp(signals, atoms, k=12, tolerance=2.0)
    residual = (signals - solution.codes @ atoms).square().sum(1)
    assert (residual <= 2.0).all()
    assert len(solution.l0.unique()) > 2
    fewer = omp(signals, atoms, k=12).codes  # one atom less would not have been enough
    for i in range(10):
        k = int(solution.l0[i])
        if k > 1:
            short = omp(signals[i : i + 1], atoms, k=k - 1)
            assert 2 * short.objective.item() > 2.0
    assert (fewer != 0).sum() > solution.l0.sum()


def test_signals_that_need_fewer_atoms_get_fewer(problem):
    _, atoms = problem(size=10)
    signals = torch.stack([torch.zeros(12, dtype=torch.float64), 3 * atoms[4]])
    solution = omp(signals, atoms, k=5)
    assert solution.l0.tolist() == [0, 1]
    assert solution.codes[1, 4].item() == pytest.approx(3)
    assert solution.converged.all()


def test_more_atoms_than_dimensions_are_never_used(problem):
    signals, atoms = problem(n=5, size=30, dim=4)
    solution = omp(signals, atoms, k=30)
    assert (solution.l0 <= 4).all()
    assert solution.objective.max() < 1e-20


def test_equal_atoms_are_not_both_chosen(problem):
    signals, atoms = problem(size=4)
    solution = omp(signals, torch.cat([atoms, atoms]), k=8)
    assert (solution.l0 <= 4).all()


def test_a_signals_code_does_not_depend_on_its_batch(problem):
    signals, atoms = problem(n=300)
    together = omp(signals, atoms, k=4)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    assert torch.equal(omp(signals[order], atoms, k=4).atoms, together.atoms[order])
    for i in (0, 150, 299):
        alone = omp(signals[i : i + 1], atoms, k=4)
        assert torch.equal(alone.atoms[0], together.atoms[i])
        torch.testing.assert_close(alone.values[0], together.values[i])


def test_an_empty_batch_has_an_empty_code(problem):
    signals, atoms = problem()
    assert omp(signals[:0], atoms, k=3).values.shape == (0, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(k=31), "1 <= k <= 30"),
        (dict(k=0), "1 <= k <= 30"),
        (dict(tolerance=-1.0), "tolerance"),
        (dict(signals=torch.full((2, 12), torch.inf, dtype=torch.float64)), "infinite"),
        (dict(dictionary=3 * torch.eye(12, dtype=torch.float64).repeat(3, 1)[:30]), "norm 1"),
    ],
)
def test_impossible_problems_are_refused(change, message, problem):
    signals, atoms = problem()
    with pytest.raises(ValueError, match=message):
        omp(**{"signals": signals, "dictionary": atoms, "k": 3, **change})


@pytest.mark.parametrize(
    ("n", "size", "dim", "k"), [(1, 33, 5, 3), (49, 64, 20, 6), (97, 513, 16, 8), (6, 200, 40, 30)]
)
def test_compiled_and_torch_pursuits_choose_alike_at_every_edge_of_a_block(
    problem, monkeypatch, n, size, dim, k
):
    signals, atoms = problem(n, size, dim)
    compiled = omp(signals, atoms, k=k)
    monkeypatch.setenv("NARROWS_KERNELS", "off")
    reference = omp(signals, atoms, k=k)
    assert torch.equal(compiled.atoms, reference.atoms)
    torch.testing.assert_close(compiled.values, reference.values, atol=1e-9, rtol=1e-7)
    torch.testing.assert_close(compiled.objective, reference.objective, atol=1e-12, rtol=1e-7)


def test_where_a_signal_stands_in_a_large_batch_changes_not_a_bit_of_its_code(problem):
    signals, atoms = problem(101, 90, 24, dtype=torch.float32)
    solution = omp(signals, atoms, k=5)
    order = torch.randperm(101, generator=torch.Generator().manual_seed(1))
    shuffled = omp(signals[order], atoms, k=5)
    assert torch.equal(shuffled.atoms, solution.atoms[order])
    assert torch.equal(shuffled.values, solution.values[order])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_a_signal_within_the_tolerance_is_so_in_double_precision(scale, monkeypatch):
    generator = torch.Generator().manual_seed(1)
    dictionary = torch.nn.functional.normalize(torch.randn(60, 24, generator=generator), dim=1)
    signals = scale * torch.randn(300, 24, generator=generator)
    for kernels_are in ("on", "off"):
        monkeypatch.setenv("NARROWS_KERNELS", kernels_are)
        for share in (0.3, 1e-2, 1e-4, 1e-6):
            tolerance = share * scale**2
            solution = omp(signals, dictionary, k=24, tolerance=tolerance)
            rest = signals.double() - solution.codes.double() @ dictionary.double()
            squares = rest.square().sum(1)
            early = solution.converged & (solution.l0 < 24)
            assert (squares[early] <= tolerance * (1 + 1e-6)).all()
            if share >= 1e-2:
                assert solution.converged.all()
