import pytest
import torch

from narrows.sparse import canonical, top_k
from narrows.sparse.top_k import strongest


def _problem(n=20, size=30, dim=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    signals = torch.randn(n, dim, generator=generator, dtype=torch.float64)
    atoms = torch.randn(size, dim, generator=generator, dtype=torch.float64)
    return signals, torch.nn.functional.normalize(atoms, dim=1)


def test_with_an_orthonormal_dictionary_top_k_is_the_best_k_term_approximation():
    signals, _ = _problem(dim=8)
    solution = top_k(signals, torch.eye(8, dtype=torch.float64), k=3)
    smallest = signals.square().sort(dim=1).values[:, :5].sum(1) / 2
    torch.testing.assert_close(solution.objective, smallest)


def test_refit_leaves_a_residual_orthogonal_to_the_chosen_atoms_and_never_a_larger_one():
    signals, atoms = _problem()
    plain, refit = top_k(signals, atoms, k=4), top_k(signals, atoms, k=4, refit=True)
    residual = signals - refit.codes @ atoms
    correlation = torch.einsum("nd,nwd->nw", residual, atoms[refit.atoms])
    assert correlation.abs().max() < 1e-12 * 100
    assert (refit.objective <= plain.objective + 1e-12).all()
    assert torch.equal(plain.atoms, refit.atoms)


def test_refit_survives_two_equal_atoms():
    signals, atoms = _problem(size=2)
    twins = torch.stack([atoms[0], atoms[0]])
    solution = top_k(signals, twins, k=2, refit=True)
    best = (signals @ atoms[0])[:, None] * atoms[0]
    torch.testing.assert_close(solution.codes @ twins, best, atol=1e-6, rtol=0)


def test_nonnegative_keeps_positive_correlations_only():
    signals, atoms = _problem()
    solution = top_k(signals, atoms, k=25, nonnegative=True)
    assert (solution.values >= 0).all()
    expected = (signals @ atoms.T).clamp_min(0)
    kept = solution.codes > 0
    torch.testing.assert_close(solution.codes[kept], expected[kept])
    assert (solution.l0 == (expected > 0).sum(1).clamp_max(25)).all()


def test_a_signals_code_does_not_depend_on_its_batch():
    signals, atoms = _problem()
    together = top_k(signals, atoms, k=4)
    for i, signal in enumerate(signals):
        alone = top_k(signal[None], atoms, k=4)
        assert torch.equal(alone.atoms[0], together.atoms[i])
        torch.testing.assert_close(alone.values[0], together.values[i])


def test_canonical_form_is_ascending_with_padding_last():
    atoms, values = canonical(torch.tensor([[5, 2, 7, 1]]), torch.tensor([[1.0, 0.0, 3.0, 4.0]]))
    assert atoms.tolist() == [[1, 5, 7, 0]]
    assert values.tolist() == [[4.0, 1.0, 3.0, 0.0]]


def test_an_empty_batch_has_an_empty_code():
    _, atoms = _problem()
    assert top_k(torch.zeros(0, 12, dtype=torch.float64), atoms, k=3).values.shape == (0, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(k=31), "1 <= k <= 30"),
        (dict(k=0), "1 <= k <= 30"),
        (dict(signals=torch.full((2, 12), torch.nan, dtype=torch.float64)), "NaN"),
        (dict(signals=torch.zeros(2, 11, dtype=torch.float64)), "expected signals"),
        (dict(signals=torch.zeros(2, 12)), "float32"),
        (dict(dictionary=torch.zeros(30, 12, dtype=torch.float64)), "zero"),
        (dict(dictionary=2 * _problem()[1]), "norm 1"),
    ],
)
def test_impossible_problems_are_refused(change, message):
    signals, atoms = _problem()
    with pytest.raises(ValueError, match=message):
        top_k(**{"signals": signals, "dictionary": atoms, "k": 3, **change})


@pytest.mark.parametrize(
    ("n", "size", "dim"), [(1, 3, 1), (49, 33, 5), (100, 200, 20), (13, 65, 7)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("nonnegative", [False, True])
def test_the_strongest_are_those_of_a_full_sort(path, problem, n, size, dim, dtype, nonnegative):
    signals, atoms = problem(n, size, dim, dtype=dtype)
    correlations = signals @ atoms.T
    score = correlations.clamp_min(0) if nonnegative else correlations.abs()
    for k in {1, min(4, size), size}:
        chosen, values = strongest(signals, atoms, k, nonnegative=nonnegative)
        best = score.sort(dim=1, descending=True)
        expected = torch.zeros_like(correlations)
        part = best.indices[:, :k]
        expected.scatter_(1, part, correlations.gather(1, part) * (best.values[:, :k] > 0))
        got = torch.zeros_like(correlations).scatter_add(1, chosen, values)
        tolerance = 1e-5 if dtype == torch.float32 else 1e-12
        torch.testing.assert_close(got, expected, atol=tolerance, rtol=0)
        assert torch.equal(canonical(chosen, values)[0], chosen)


def test_a_signal_with_fewer_nonzero_correlations_than_k_gets_fewer_atoms(path):
    signals = torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0]])
    chosen, values = strongest(signals, torch.eye(3), 2)
    assert values.tolist() == [[2.0, 0.0], [0.0, 0.0]]
    assert chosen.tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize("angle", [1e-7, 1e-5, 1e-4])
def test_a_refit_on_twin_atoms_stays_bounded(angle, monkeypatch):
    generator = torch.Generator().manual_seed(2)
    base = torch.randn(10, 12, generator=generator)
    twins = base + angle * torch.randn(10, 12, generator=generator)
    dictionary = torch.nn.functional.normalize(torch.cat([base, twins]), dim=1)
    signals = torch.randn(200, 12, generator=generator)
    for kernels_are in ("on", "off"):
        monkeypatch.setenv("NARROWS_KERNELS", kernels_are)
        solution = top_k(signals, dictionary, k=4, refit=True)
        assert (solution.values.abs().amax(1) <= 10 * signals.norm(dim=1)).all()
        assert (solution.objective <= signals.square().sum(1) / 2).all()
