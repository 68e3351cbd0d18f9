"""Facts about the lasso's solution, for each solver and each path."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import sparse_encode
from sklearn.linear_model import ElasticNet, Lasso

from narrows.sparse import L1, coordinate_descent, fista, max_penalty

pytestmark = pytest.mark.usefixtures("path")

SOLVERS = [fista, coordinate_descent]
solvers = pytest.mark.parametrize("solve", SOLVERS)
EXACT = {"tolerance": 1e-11, "max_iterations": 20_000}


@solvers
def test_the_code_is_zero_from_lambda_max_on(solve, problem):
    signals, atoms = problem()
    largest = max_penalty(signals, atoms)
    assert solve(signals, atoms, penalty=L1(largest * (1 + 1e-12))).l0.sum() == 0
    assert solve(signals, atoms, penalty=L1(1.0 + 1e-12, relative=True)).l0.sum() == 0
    assert (solve(signals, atoms, penalty=L1(0.999, relative=True), **EXACT).l0 == 1).all()


@pytest.mark.parametrize("nonnegative", [False, True])
def test_lambda_max_is_the_largest_correlation_with_or_without_its_gradient(nonnegative, problem):
    signals, atoms = problem()
    correlations = signals @ atoms.T
    expected = correlations.clamp_min(0) if nonnegative else correlations.abs()
    plain = max_penalty(signals, atoms, nonnegative=nonnegative)
    torch.testing.assert_close(plain, expected.amax(1))
    followed = max_penalty(signals.requires_grad_(), atoms, nonnegative=nonnegative)
    torch.testing.assert_close(followed.detach(), plain)
    (gradient,) = torch.autograd.grad(followed.sum(), signals)
    torch.testing.assert_close((gradient * signals).sum(1), followed)  # homogeneous


def test_lambda_max_of_signals_that_do_not_fit_is_refused(problem):
    signals, atoms = problem()
    with pytest.raises(RuntimeError):
        max_penalty(signals[:, :5], atoms)


@solvers
def test_an_orthonormal_dictionary_gives_soft_thresholding(solve, problem):
    signals, atoms = problem(size=12)
    basis = torch.linalg.qr(atoms).Q
    correlations = signals @ basis.T
    expected = correlations.sign() * (correlations.abs() - 0.4).clamp_min(0)
    torch.testing.assert_close(solve(signals, basis, penalty=0.4, **EXACT).codes, expected)


@solvers
def test_one_atom_by_hand(solve):
    # min (x - 2 z)^2 / 2 + |z|: z = (2 x - 1) / 4 for x > 1/2.
    signals = torch.tensor([[3.0], [0.25], [-1.0]], dtype=torch.float64)
    codes = solve(signals, torch.tensor([[2.0]], dtype=torch.float64), penalty=1.0, **EXACT).codes
    torch.testing.assert_close(codes[:, 0], torch.tensor([1.25, 0.0, -0.25], dtype=torch.float64))


@solvers
def test_two_atoms_by_hand(solve):
    # Both active with positive sign: G z = D x - lambda, G = [[1, .6], [.6, 1]].
    atoms = torch.tensor([[1.0, 0.0], [0.6, 0.8]], dtype=torch.float64)
    signals = torch.tensor([[2.0, 1.0]], dtype=torch.float64)
    right = torch.tensor([2.0 - 0.1, 2.0 - 0.1], dtype=torch.float64)
    expected = torch.linalg.solve(torch.tensor([[1.0, 0.6], [0.6, 1.0]]).double(), right)
    torch.testing.assert_close(solve(signals, atoms, penalty=0.1, **EXACT).codes[0], expected)


@solvers
@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_solutions_satisfy_the_optimality_conditions(solve, nonnegative, ridge, problem):
    signals, atoms = problem(n=50, size=60, dim=20)
    penalty = L1(0.15, relative=True, ridge=ridge, nonnegative=nonnegative)
    solution = solve(signals, atoms, penalty=penalty, **EXACT)
    weights = penalty.resolve(signals, atoms)[:, None]
    codes = solution.codes
    gradient = (signals - codes @ atoms) @ atoms.T - ridge * codes
    active = codes.abs() > 1e-8
    steepest = gradient if nonnegative else gradient.abs()
    # A relative gap of 1e-11 leaves the correlations within about its square root.
    assert (steepest <= weights * (1 + 1e-4)).all()
    error = (gradient - weights * codes.sign())[active].abs()
    assert error.max() < 1e-4 * weights.max()
    assert (solution.gap >= 0).all()
    assert solution.converged.all()
    if nonnegative:
        assert (codes >= 0).all()


@solvers
def test_the_gap_bounds_the_distance_to_the_optimum(solve, problem):
    signals, atoms = problem(n=50, size=60, dim=20)
    penalty = L1(0.1, relative=True)
    best = solve(signals, atoms, penalty=penalty, **EXACT).objective
    for budget in (1, 3, 10):
        rough = solve(signals, atoms, penalty=penalty, tolerance=0.0, max_iterations=budget)
        assert (rough.objective - best <= rough.gap + 1e-10).all()
        assert (rough.objective >= best * (1 - 1e-10)).all()


def test_fista_and_coordinate_descent_agree(problem):
    signals, atoms = problem(n=50, size=60, dim=20)
    one = fista(signals, atoms, penalty=0.5, **EXACT)
    other = coordinate_descent(signals, atoms, penalty=0.5, **EXACT)
    torch.testing.assert_close(one.objective, other.objective, rtol=1e-10, atol=0)
    torch.testing.assert_close(one.codes, other.codes, atol=1e-4, rtol=0)


@solvers
@pytest.mark.parametrize("shape", [(60, 20), (24, 20), (12, 30)])
def test_codes_are_those_of_scikit_learn(solve, shape, problem):
    signals, atoms = problem(n=40, size=shape[0], dim=shape[1])
    codes = solve(signals, atoms, penalty=0.4, **EXACT).codes
    expected = sparse_encode(
        signals.numpy(), atoms.numpy(), algorithm="lasso_lars", alpha=0.4, max_iter=5000
    )
    np.testing.assert_allclose(codes.numpy(), expected, atol=2e-5)


@solvers
def test_nonnegative_elastic_nets_are_those_of_scikit_learn(solve, problem):
    signals, atoms = problem(n=6, size=30, dim=12)
    penalty = L1(0.3, ridge=0.5, nonnegative=True)
    codes = solve(signals, atoms, penalty=penalty, **EXACT).codes
    # scikit-learn divides the squared error by the number of rows, here 12.
    alpha, share = (0.3 + 0.5) / 12, 0.3 / (0.3 + 0.5)
    for signal, code in zip(signals.numpy(), codes.numpy(), strict=True):
        net = ElasticNet(
            alpha=alpha, l1_ratio=share, positive=True, fit_intercept=False, tol=1e-12,
            max_iter=100_000,
        ).fit(atoms.numpy().T, signal)  # fmt: skip
        np.testing.assert_allclose(code, net.coef_, atol=1e-5)


@solvers
def test_a_signals_code_does_not_depend_on_its_batch(solve, problem):
    signals, atoms = problem(n=600, size=40, dim=12)
    together = solve(signals, atoms, penalty=0.5, tolerance=1e-6).codes
    order = torch.randperm(600, generator=torch.Generator().manual_seed(0))
    permuted = solve(signals[order], atoms, penalty=0.5, tolerance=1e-6).codes
    torch.testing.assert_close(permuted, together[order], atol=1e-12, rtol=0)
    for i in (0, 311, 599):
        alone = solve(signals[i : i + 1], atoms, penalty=0.5, tolerance=1e-6).codes
        torch.testing.assert_close(alone[0], together[i], atol=1e-12, rtol=0)


@solvers
def test_each_signal_may_have_its_own_lambda(solve, problem):
    signals, atoms = problem()
    weights = torch.linspace(0.1, 2, len(signals), dtype=torch.float64)
    together = solve(signals, atoms, penalty=L1(weights), **EXACT).codes
    for i in (0, 9, 19):
        alone = solve(signals[i : i + 1], atoms, penalty=float(weights[i]), **EXACT).codes
        torch.testing.assert_close(alone[0], together[i], atol=1e-6, rtol=0)


@solvers
def test_single_precision_is_within_its_rounding_of_double(solve, problem):
    signals, atoms = problem(n=200, size=60, dim=20)
    single = solve(signals.float(), atoms.float(), penalty=0.5, tolerance=1e-5)
    double = solve(signals, atoms, penalty=0.5, **EXACT)
    assert single.converged.all()
    torch.testing.assert_close(single.objective.double(), double.objective, rtol=2e-5, atol=1e-5)


@solvers
def test_equal_atoms_share_a_coefficient_without_harm(solve, problem):
    signals, atoms = problem(size=10)
    twice = torch.cat([atoms, atoms])
    solution = solve(signals, twice, penalty=0.3, tolerance=1e-8, max_iterations=20_000)
    once = solve(signals, atoms, penalty=0.3, **EXACT)
    assert solution.converged.all()
    torch.testing.assert_close(solution.objective, once.objective, rtol=1e-7, atol=0)


@solvers
def test_more_active_atoms_than_dimensions_under_a_ridge(solve, problem):
    signals, atoms = problem(n=10, size=40, dim=5)
    solution = solve(signals, atoms, penalty=L1(1e-3, ridge=0.5), **EXACT)
    assert solution.converged.all()
    assert solution.l0.max() > 5


@solvers
def test_a_tiny_lambda_in_single_precision_still_certifies(solve, problem):
    signals, atoms = problem(n=50, size=64, dim=16, dtype=torch.float32)
    solution = solve(
        signals, atoms, penalty=L1(0.02, relative=True), tolerance=1e-3, max_iterations=9999
    )
    assert solution.converged.float().mean() > 0.95


def test_many_atoms_go_without_the_gram_matrix(problem):
    signals, atoms = problem(n=3, size=500, dim=12)
    alone = coordinate_descent(signals[:1], atoms, penalty=0.5, **EXACT)
    reference = Lasso(alpha=0.5 / 12, fit_intercept=False, tol=1e-12, max_iter=100_000)
    expected = reference.fit(atoms.numpy().T, signals[0].numpy()).coef_
    np.testing.assert_allclose(alone.codes[0].numpy(), expected, atol=1e-5)


@solvers
def test_an_empty_batch_has_an_empty_code(solve, problem):
    signals, atoms = problem()
    solution = solve(signals[:0], atoms, penalty=0.5)
    assert solution.codes.shape == (0, 30)
    assert solution.objective.shape == (0,)


@solvers
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(penalty=-0.1), "lambda >= 0"),
        (dict(penalty=float("nan")), "lambda >= 0"),
        (dict(signals=torch.full((2, 12), torch.nan, dtype=torch.float64)), "NaN"),
        (dict(dictionary=torch.zeros(30, 12, dtype=torch.float64)), "zero"),
        (dict(dictionary=torch.ones(30, 11, dtype=torch.float64)), "expected signals"),
        (dict(tolerance=-1.0), "tolerance"),
        (dict(max_iterations=0), "max_iterations"),
    ],
)
def test_impossible_problems_are_refused(solve, change, message, problem):
    signals, atoms = problem()
    with pytest.raises(ValueError, match=message):
        solve(**{"signals": signals, "dictionary": atoms, "penalty": 0.3, **change})


def test_penalties_that_fit_no_signals_are_refused(problem):
    signals, atoms = problem()
    with pytest.raises(ValueError, match="one L1 weight"):
        fista(signals, atoms, penalty=L1(torch.ones(3)))
    with pytest.raises(ValueError, match="ridge"):
        L1(0.1, ridge=-1.0)
    for solve in (fista, coordinate_descent):
        with pytest.raises(ValueError, match="start"):
            solve(signals, atoms, penalty=0.1, start=torch.zeros(2, 2))


def test_a_warm_start_needs_fewer_steps(problem):
    signals, atoms = problem(n=50, size=60, dim=20)
    moved = signals + 0.01 * problem(n=50, size=60, dim=20, seed=1)[0]
    start = fista(signals, atoms, penalty=0.5, tolerance=1e-6).codes
    cold = fista(moved, atoms, penalty=0.5, tolerance=0.0, max_iterations=5)
    warm = fista(moved, atoms, penalty=0.5, tolerance=0.0, max_iterations=5, start=start)
    assert warm.gap.sum() < 0.2 * cold.gap.sum()


@pytest.mark.parametrize("nonnegative", [False, True])
def test_any_start_leads_coordinate_descent_to_the_same_optimum(path, problem, nonnegative):
    signals, atoms = problem(n=60, size=40, dim=15)
    penalty = L1(0.4, nonnegative=nonnegative)
    cold = coordinate_descent(signals, atoms, penalty=penalty, tolerance=1e-10)
    noise = problem(n=60, size=60, dim=40, seed=3)[0]
    sparse_noise = noise * (noise.abs() > 1)
    for start in (noise, sparse_noise, cold.codes, -cold.codes, torch.full_like(noise, torch.nan)):
        warm = coordinate_descent(signals, atoms, penalty=penalty, tolerance=1e-10, start=start)
        assert warm.converged.all()
        torch.testing.assert_close(warm.objective, cold.objective, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(warm.codes, cold.codes, rtol=0, atol=1e-4)


def test_a_warm_start_of_coordinate_descent_saves_iterations(path, problem):
    signals, atoms = problem(n=80, size=60, dim=20)
    moved = signals + 0.05 * problem(n=80, size=60, dim=20, seed=1)[0]  # five per cent
    start = coordinate_descent(signals, atoms, penalty=0.5).codes

    def iterations(start):
        """How many all signals need."""
        for most in range(1, 200):
            solution = coordinate_descent(
                moved, atoms, penalty=0.5, tolerance=1e-3, max_iterations=most, start=start
            )
            if solution.converged.all():
                return most
        return 200

    cold, warm = iterations(None), iterations(start)
    assert cold >= 3
    assert warm <= 0.7 * cold


def _double_gap(solution, signals, dictionary, weight):
    """Objective and duality gap of the codes, from the definition in float64."""
    x, d, z = signals.double(), dictionary.double(), solution.codes.double()
    rest = x - z @ d
    objective = rest.square().sum(1) / 2 + weight.double() * z.abs().sum(1)
    scale = (weight.double() / (rest @ d.T).abs().amax(1)).clamp_max(1)
    dual = scale * (x * rest).sum(1) - scale.square() * rest.square().sum(1) / 2
    return objective, objective - dual


def _nearly_one_direction(dtype=torch.float32):
    generator = torch.Generator().manual_seed(3)
    atoms = torch.ones(1, 20) / 20**0.5 + 0.002 * torch.randn(70, 20, generator=generator)
    signals = torch.randn(40, 20, generator=generator)
    return signals.to(dtype), torch.nn.functional.normalize(atoms, dim=1).to(dtype)


@pytest.mark.parametrize("relative", [1e-2, 1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize("alike", [True, False])
def test_what_is_reported_is_true_of_the_code_however_hard_the_problem(relative, alike):
    signals, dictionary = _nearly_one_direction()
    if not alike:
        dictionary = torch.nn.functional.normalize(
            torch.randn(70, 20, generator=torch.Generator().manual_seed(4)), dim=1
        )
    weight = relative * max_penalty(signals, dictionary)
    solution = coordinate_descent(signals, dictionary, penalty=L1(weight))
    objective, gap = _double_gap(solution, signals, dictionary, weight)
    zero = signals.double().square().sum(1) / 2
    assert torch.allclose(solution.objective.double(), objective, rtol=1e-5)
    assert (solution.gap.double() >= gap * (1 - 1e-6) - 1e-12 * zero).all()
    assert (objective <= zero * (1 + 1e-6)).all()  # the zero code is always there
    sure = solution.converged
    assert (gap[sure] <= 1.001e-4 * objective[sure]).all()
    if relative >= 1e-3 and not alike:  # else the rounding of float32 codes is more
        assert sure.float().mean() > 0.99
    exact = coordinate_descent(signals.double(), dictionary.double(), penalty=L1(weight.double()))
    if relative >= 1e-5:
        assert exact.converged.all()
        assert (solution.gap >= objective - exact.objective - 1e-12 * zero).all()
        assert (objective <= 1.2 * exact.objective + 1e-6 * zero).float().mean() > 0.9


@pytest.mark.parametrize("relative", [0.0, 1e-7])
def test_a_tiny_or_no_weight_ends_and_in_float64_converges(relative):
    signals, dictionary = _nearly_one_direction(torch.float64)
    weight = relative * max_penalty(signals, dictionary)
    solution = coordinate_descent(signals, dictionary, penalty=L1(weight), tolerance=1e-3)
    objective, _ = _double_gap(solution, signals, dictionary, weight)
    least = torch.linalg.lstsq(dictionary.T, signals.T).solution.T
    fit = (signals - least @ dictionary).square().sum(1) / 2
    assert (objective >= fit - 1e-9).all()
    assert (objective <= fit + 1e-4 * signals.square().sum(1)).all()
    if relative:
        assert solution.converged.float().mean() > 0.9


@pytest.mark.parametrize("norm", [1e-3, 1e3])
def test_the_torch_path_takes_atoms_of_any_norm(norm, monkeypatch):
    monkeypatch.setenv("NARROWS_KERNELS", "off")
    generator = torch.Generator().manual_seed(6)
    signals, dictionary = (torch.randn(n, 10, generator=generator) for n in (40, 25))
    unit = torch.nn.functional.normalize(dictionary, dim=1)
    twice = torch.cat([unit, unit[:5]])
    plain = coordinate_descent(signals, twice, penalty=L1(0.1, relative=True))
    other = coordinate_descent(signals, norm * twice, penalty=L1(0.1, relative=True))
    assert plain.converged.all()
    assert other.converged.all()
    assert torch.allclose(plain.objective, other.objective, rtol=3e-4)


def test_a_sparse_dictionary_with_a_tiny_penalty_gives_numbers():
    from narrows.bottlenecks import Lasso, SparseDictionary

    torch.manual_seed(0)
    bottleneck = SparseDictionary(32, 8, coder=Lasso(1e-7, refit=False))
    latent = bottleneck(torch.randn(50, 8))
    assert latent.z.isfinite().all()
