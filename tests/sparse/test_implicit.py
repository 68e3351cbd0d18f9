import pytest
import torch

from narrows.sparse import L1, combine, coordinate_descent, differentiate, omp, refit
from narrows.sparse.products import correlations_at, solve_on_support

pytestmark = pytest.mark.usefixtures("path")


def _lasso(ridge=0.0):
    def code(signals, dictionary, weights):
        with torch.no_grad():
            penalty = L1(weights.detach(), ridge=ridge)
            found = coordinate_descent(signals, dictionary, penalty=penalty, tolerance=1e-14)
        values = differentiate(
            signals,
            dictionary,
            atoms=found.atoms,
            values=found.values,
            weights=weights,
            ridge=ridge,
        )
        dense = values.new_zeros(len(signals), len(dictionary))
        return dense.scatter_add(1, found.atoms, values)

    return code


@pytest.mark.parametrize("ridge", [0.0, 0.2])
def test_lasso_gradients_match_finite_differences(ridge, problem):
    signals, atoms = problem(n=3, size=9, dim=6)
    weights = torch.linspace(0.3, 0.9, 3, dtype=torch.float64)
    inputs = [part.requires_grad_() for part in (signals, atoms, weights)]
    assert torch.autograd.gradcheck(_lasso(ridge), inputs, atol=1e-5)


def test_omp_gradients_match_finite_differences(problem):
    signals, atoms = problem(n=5, size=14, dim=8)
    found = omp(signals, atoms, k=3)

    def approximate(signals, dictionary):
        values = refit(signals, dictionary, atoms=found.atoms, active=found.values != 0)
        return combine(found.atoms, values, dictionary=dictionary)

    assert torch.autograd.gradcheck(approximate, (signals.requires_grad_(), atoms.requires_grad_()))


def test_correlations_and_combinations_have_exact_gradients(problem):
    signals, atoms = problem(n=5, size=14, dim=40)
    chosen = torch.randint(14, (5, 3), generator=torch.Generator().manual_seed(0))
    inputs = (signals.requires_grad_(), atoms.requires_grad_())
    assert torch.autograd.gradcheck(lambda x, d: correlations_at(chosen, x, d), inputs)
    values = torch.rand(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda v, d: combine(chosen, v, dictionary=d), (values, inputs[1])
    )


def test_the_gradient_is_the_limit_of_unrolling(problem):
    signals, atoms = problem(n=10, size=14, dim=8)
    weights = torch.full((10,), 0.5, dtype=torch.float64)
    inputs = [part.requires_grad_() for part in (signals, atoms, weights)]
    upstream = torch.randn(10, 14, generator=torch.Generator().manual_seed(3)).double()
    exact = torch.autograd.grad((_lasso()(*inputs) * upstream).sum(), inputs)
    codes = torch.zeros(10, 14, dtype=torch.float64)
    step = 1 / torch.linalg.eigvalsh(atoms @ atoms.T)[-1].detach()
    for _ in range(3000):
        moved = codes - step * (codes @ atoms - signals) @ atoms.T
        codes = moved.sign() * (moved.abs() - step * weights[:, None]).clamp_min(0)
    unrolled = torch.autograd.grad((codes * upstream).sum(), inputs)
    for one, other in zip(exact, unrolled, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)


def test_it_is_mairals_beta_star(problem):
    signals, atoms = problem(n=1, size=14, dim=8)
    found = coordinate_descent(signals, atoms, penalty=0.4, tolerance=1e-14)
    upstream = torch.randn(1, 14, generator=torch.Generator().manual_seed(2)).double()
    code = found.codes[0]
    on = code != 0
    chosen = atoms[on].T
    beta = torch.zeros(14, dtype=torch.float64)
    beta[on] = torch.linalg.solve(chosen.T @ chosen, upstream[0, on])
    D = atoms.T
    expected = -torch.outer(D @ beta, code) + torch.outer(signals[0] - D @ code, beta)
    atoms.requires_grad_()
    values = differentiate(signals, atoms, atoms=found.atoms, values=found.values)
    (values * upstream.gather(1, found.atoms)).sum().backward()
    torch.testing.assert_close(atoms.grad, expected.T)


def test_padding_passes_no_gradient(problem):
    signals, atoms = problem(n=1, size=14, dim=8)
    chosen, values = torch.tensor([[3, 0]]), torch.tensor([[1.0, 0.0]]).double()
    atoms.requires_grad_()
    differentiate(signals, atoms, atoms=chosen, values=values).sum().backward()
    assert atoms.grad[0].abs().sum() == 0
    assert atoms.grad[3].abs().sum() > 0


def test_refit_survives_two_equal_atoms(problem):
    signals, atoms = problem(size=2)
    twins = torch.stack([atoms[0], atoms[0]])
    support = torch.tensor([[0, 1]]).expand(20, 2)
    values = refit(signals, twins, atoms=support, active=torch.ones(20, 2, dtype=torch.bool))
    best = (signals @ atoms[0])[:, None] * atoms[0]
    torch.testing.assert_close(combine(support, values, dictionary=twins), best, atol=1e-6, rtol=0)


def test_nearly_parallel_atoms_are_solved_for_to_single_precision(problem):
    """Their normal equations have a condition of 5e7, which single precision cannot invert."""
    _, atoms = problem(size=2)
    twins = torch.stack([atoms[0], atoms[0] + 2e-4 * atoms[1]]).float()
    right = torch.randn(20, 2, generator=torch.Generator().manual_seed(1))
    support, active = torch.tensor([[0, 1]]).expand(20, 2), torch.ones(20, 2, dtype=torch.bool)
    wide = twins.double()
    exact = torch.linalg.solve(wide @ wide.T, right.double().T).T
    solved = solve_on_support(twins, support, active, right)
    torch.testing.assert_close(solved.double(), exact, rtol=1e-5, atol=0)


def test_backward_needs_no_memory_of_atoms_squared_per_signal(problem):
    signals, atoms = problem(n=64, size=2000, dim=8, dtype=torch.float32)
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: sizes.append(t.numel()) or t, lambda t: t
    ):
        found = omp(signals, atoms, k=4)
        values = differentiate(
            signals.requires_grad_(), atoms, atoms=found.atoms, values=found.values
        )
        combine(found.atoms, values, dictionary=atoms).sum().backward()
    assert max(sizes) <= atoms.numel()
