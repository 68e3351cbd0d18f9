"""The lasso by its active set, one coordinate at a time."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from narrows.kernels import sparse as kernels
from narrows.sparse.penalty import L1, certified, certify, check_lasso
from narrows.sparse.products import correlations_at, solve_on_support
from narrows.sparse.solution import SparseSolution, canonical, check_finite, from_dense, tiles

_CHECK_EVERY = 25
_SETTLE = 4
# A signal whose objective does not fall in so many checks is given up.
_PATIENCE = 8


def coordinate_descent(
    signals: Tensor,
    dictionary: Tensor,
    *,
    penalty: L1 | float,
    tolerance: float = 1e-4,
    max_iterations: int = 20_000,
    start: Tensor | None = None,
) -> SparseSolution:
    r"""Minimises the lasso by working on few atoms; the fastest solver here on a CPU.

    In torch, greedy: each signal moves its own best coordinate j to its minimum,

    .. math:: z_j \leftarrow \frac{\mathrm{shrink}_\lambda(c_j + |d_j|^2 z_j)}{|d_j|^2 + \mu},
        \qquad c = (x - z D) D^T,

    with now and then a move towards the exact minimum for its present signs, until its duality
    gap is small. Compiled, the coordinates that violate the optimality
    conditions |c_j| <= lambda enter an active set a few at a time, which is then solved exactly
    for its signs by Cholesky, dropping atoms that reach 0: same problem, same certificate.

    Args:
        signals: `[n, dim]`.
        dictionary: `[K, dim]`; atoms need not have norm 1.
        penalty: an `L1`, or lambda as a number.
        tolerance: stop at this duality gap relative to the objective.
        max_iterations: most coordinate moves (torch) or enlargements (compiled) of a signal.
        start: codes `[n, K]` to start from, such as those of similar signals or a guess of a
            `Lista`; zero if None. The solution is the same, reached sooner from a good start.

    Returns:
        Codes, objective, gap, and whether the gap was reached. A signal whose objective no longer
        falls ends before: in float32 below about 1e-6 of lambda_max, where the rounding of the
        codes alone is more than the tolerance. Pass float64 for so small a lambda, or for 0.

    Raises:
        ValueError: if shapes do not fit, or numbers are out of range.

    Source:
        Li and Osher 2009, "Coordinate descent optimization for l1 minimization" (greedy); Lee
        et al. 2007, "Efficient sparse coding algorithms" (the active set; here several atoms
        enter at once, and the gap decides when to stop).

    Example:
        >>> coordinate_descent(torch.tensor([[3.0, -1.0]]), torch.eye(2), penalty=0.5).codes
        tensor([[ 2.5000, -0.5000]])
    """
    budget = (tolerance, max_iterations)
    penalty = check_lasso(signals, dictionary, penalty, budget, start)
    with torch.no_grad():
        weights = penalty.resolve(signals, dictionary)
        first = None if start is None else _hint(start.to(signals.dtype), penalty)
        solution = descend(signals, dictionary, weights, penalty, budget, first)
    check_finite(solution.objective)
    return solution


def descend(
    signals: Tensor,
    dictionary: Tensor,
    weights: Tensor,
    penalty: L1,
    budget: tuple[float, int],
    start: tuple[Tensor, Tensor] | None = None,
) -> SparseSolution:
    """`coordinate_descent` without its checks, for lambda given as weights `[n]`.

    It starts from atoms and values `[n, any]`: finite, of the sign allowed, 0 for padding.
    """
    shared = (penalty.ridge, penalty.nonnegative, budget, start)
    compiled = kernels.lasso(signals, dictionary, weights, *shared)
    if compiled is not None:
        atoms, values, objective, gap, converged = compiled
        return SparseSolution(atoms, values, len(dictionary), objective, gap, converged)
    codes = signals.new_zeros(len(signals), len(dictionary))
    if start is not None:
        codes.scatter_add_(1, *start)
    dense = torch.cat(
        [
            _greedy(signals[i], weights[i], codes[i], dictionary, penalty, budget)
            for i in tiles(signals)
        ]
    )
    solution = certified(signals, dictionary, dense, weights, penalty, budget[0])
    hard = ~solution.converged & solution.objective.isfinite()
    if signals.dtype == torch.float64 or not bool(hard.any()):
        return solution
    tile = (signals[hard].double(), weights[hard].double(), dense[hard].double())
    dense[hard] = _greedy(*tile, dictionary.double(), penalty, budget).to(dense.dtype)
    return certified(signals, dictionary, dense, weights, penalty, budget[0])


def _hint(start: Tensor, penalty: L1) -> tuple[Tensor, Tensor]:
    """What of dense codes `[n, K]` can be started from: finite, and of the sign allowed."""
    start = start.nan_to_num(0.0, 0.0, 0.0)
    return from_dense(start.clamp_min(0) if penalty.nonnegative else start)


def _greedy(
    signals: Tensor,
    weights: Tensor,
    codes: Tensor,
    dictionary: Tensor,
    penalty: L1,
    budget: tuple[float, int],
) -> Tensor:
    """Dense codes of one tile; signals that are done leave it."""
    tolerance, iterations = budget
    gram = dictionary @ dictionary.T
    curvature = gram.diagonal()
    done, going = codes.clone(), torch.arange(len(signals), device=signals.device)
    correlations = signals @ dictionary.T
    least = torch.full_like(weights, torch.inf)
    idle = torch.zeros_like(going)
    for iteration in range(iterations):
        if iteration % _CHECK_EVERY == 0:
            codes = _settle(signals, dictionary, weights, codes, penalty)
            objective, gap = certify(signals, dictionary, codes, weights, penalty)
            idle = torch.where(objective < least, 0, idle + 1)
            stay = (gap > tolerance * objective) & (idle <= _PATIENCE)
            done[going[~stay]] = codes[~stay]
            going, signals, weights, codes = going[stay], signals[stay], weights[stay], codes[stay]
            least, idle = torch.minimum(least, objective)[stay], idle[stay]
            if not len(going):
                return done
            # Afresh, so that the rounding of many small updates does not add up.
            correlations = (signals - codes @ dictionary) @ dictionary.T
        best = penalty.shrink(correlations + curvature * codes, weights[:, None])
        moves = best / (curvature + penalty.ridge) - codes
        chosen = (moves.abs() * curvature.sqrt()).argmax(-1, keepdim=True)
        move = moves.gather(1, chosen)
        codes.scatter_add_(1, chosen, move)
        correlations -= move * gram[chosen[:, 0]]
    done[going] = codes
    return done


def _settle(
    signals: Tensor, dictionary: Tensor, weights: Tensor, codes: Tensor, penalty: L1
) -> Tensor:
    """Goes to the exact minimum for the present signs, or as far as they last, a few times."""
    atoms, values = from_dense(codes)
    correlations = correlations_at(atoms, signals, dictionary)
    for _ in range(_SETTLE):
        signs = values.sign()
        right = correlations - weights[:, None] * signs
        solved = solve_on_support(dictionary, atoms, signs != 0, right, penalty.ridge)
        crosses = (signs != 0) & (solved * signs <= 0)
        reach = torch.where(crosses, values / (values - solved), 1.0)
        step, first = reach.min(-1, keepdim=True)
        values = values + step * (solved - values)
        values = torch.where(crosses.gather(1, first), values.scatter(1, first, 0.0), values)
        if not bool(crosses.any()):
            break
    return torch.zeros_like(codes).scatter_add(1, atoms, values)


def lasso_support(
    signals: Tensor,
    dictionary: Tensor,
    weights: Tensor,
    *,
    nonnegative: bool,
    tolerance: float,
    width: int,
) -> tuple[Tensor, Tensor]:
    """Atoms and values `[n, width]` of a lasso code: its largest entries, canonical, unchecked.

    An operator to `torch.export` and `torch.compile`, which cannot look into a solver that
    stops when it is done.
    """
    solve = _lasso_operator if torch.compiler.is_compiling() else _lasso_support
    return solve(signals, dictionary, weights, nonnegative, tolerance, width)


def _lasso_support(
    signals: Tensor,
    dictionary: Tensor,
    weights: Tensor,
    nonnegative: bool,
    tolerance: float,
    width: int,
) -> tuple[Tensor, Tensor]:
    penalty = L1(1.0, nonnegative=nonnegative)
    solution = descend(signals, dictionary, weights, penalty, (tolerance, 20_000))
    atoms, values = solution.atoms, solution.values
    have = values.shape[1]
    if have > width:
        keep = values.abs().topk(width, dim=-1, sorted=False).indices
        return canonical(atoms.gather(1, keep), values.gather(1, keep))
    return pad(atoms, (0, width - have)), pad(values, (0, width - have))


_lasso_operator = torch.library.custom_op("narrows::lasso_support", _lasso_support, mutates_args=())


@_lasso_operator.register_fake
def _lasso_shapes(signals: Tensor, *others: int) -> tuple[Tensor, Tensor]:
    values = signals.new_empty(signals.shape[0], others[-1])
    return values.to(torch.int64), values
