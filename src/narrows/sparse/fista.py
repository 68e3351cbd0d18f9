"""FISTA: accelerated proximal gradient steps for the lasso, batched."""

from dataclasses import dataclass

import torch
from torch import Tensor

from narrows.sparse.penalty import L1, certified, certify, check_lasso
from narrows.sparse.solution import SparseSolution, check_finite, tiles

# A certificate costs about as much as two steps.
_CHECK_EVERY = 10


def fista(
    signals: Tensor,
    dictionary: Tensor,
    *,
    penalty: L1 | float,
    tolerance: float = 1e-4,
    max_iterations: int = 2000,
    start: Tensor | None = None,
) -> SparseSolution:
    r"""Minimises the lasso by accelerated proximal gradient with adaptive restart.

    .. math:: z^{t+1} = \mathrm{shrink}_{\lambda / L}\!\left(y^t - \tfrac1L
        \left((y^t D - x) D^T + \mu y^t\right)\right), \qquad
        y^{t+1} = z^{t+1} + \beta_t (z^{t+1} - z^t)

    with L the largest eigenvalue of D D^T plus mu. Products go through D where 2 dim < K and
    through the Gram matrix otherwise. Each signal restarts its own momentum, and stops by its
    own duality gap: its code does not depend on the rest of the batch.

    Args:
        signals: `[n, dim]`.
        dictionary: `[K, dim]`; atoms need not have norm 1.
        penalty: an `L1`, or lambda as a number.
        tolerance: stop at this duality gap relative to the objective.
        max_iterations: most steps; with tolerance=0 exactly so many.
        start: codes `[n, K]` to start from; zero if None.

    Returns:
        Codes, objective, gap, and whether the gap was reached.

    Raises:
        ValueError: if shapes do not fit, or numbers are out of range.

    Source:
        Beck and Teboulle 2009; O'Donoghue and Candes 2015, "Adaptive Restart for Accelerated
        Gradient Schemes" (gradient scheme, here per signal).

    Example:
        >>> fista(torch.tensor([[3.0, -1.0]]), torch.eye(2), penalty=0.5).codes
        tensor([[ 2.5000, -0.5000]])
    """
    penalty = check_lasso(signals, dictionary, penalty, (tolerance, max_iterations), start)
    with torch.no_grad():
        weights = penalty.resolve(signals, dictionary)
        steps = _Steps(dictionary, penalty)
        codes = signals.new_zeros(len(signals), len(dictionary)) if start is None else start.clone()
        codes = torch.cat(
            [
                steps.run(signals[i], weights[i], codes[i], tolerance, max_iterations)
                for i in tiles(signals)  # whose codes stay in the cache
            ]
        )
        solution = certified(signals, dictionary, codes, weights, penalty, tolerance)
    check_finite(solution.objective)
    return solution


def largest_eigenvalue(dictionary: Tensor) -> Tensor:
    """That of D D^T, through the smaller Gram matrix: the gradient's Lipschitz constant."""
    wide = dictionary if dictionary.shape[0] <= dictionary.shape[1] else dictionary.T
    return torch.linalg.eigvalsh(wide @ wide.T)[-1]


@dataclass
class _Steps:
    """What all signals share."""

    dictionary: Tensor
    penalty: L1

    def __post_init__(self) -> None:
        size, dim = self.dictionary.shape
        self.lipschitz = largest_eigenvalue(self.dictionary) + self.penalty.ridge
        self.gram = None if 2 * dim < size else self.dictionary @ self.dictionary.T

    def gradient(self, codes: Tensor, signals: Tensor, correlations: Tensor) -> Tensor:
        if self.gram is None:
            smooth = (codes @ self.dictionary - signals) @ self.dictionary.T
        else:
            smooth = codes @ self.gram - correlations
        return smooth.add_(codes, alpha=self.penalty.ridge) if self.penalty.ridge else smooth

    def run(
        self, signals: Tensor, weights: Tensor, codes: Tensor, tolerance: float, budget: int
    ) -> Tensor:
        """Iterates one tile; signals that are done leave it."""
        done = codes.clone()
        going = torch.arange(len(signals), device=signals.device)
        correlations = signals @ self.dictionary.T
        ahead, momentum = codes, codes.new_ones(len(codes), 1)
        for iteration in range(budget):
            if tolerance > 0 and iteration % _CHECK_EVERY == 0:
                objective, gap = certify(signals, self.dictionary, codes, weights, self.penalty)
                stay = gap > tolerance * objective
                if not bool(stay.all()):
                    done[going[~stay]] = codes[~stay]
                    going, signals, weights = going[stay], signals[stay], weights[stay]
                    codes, ahead, momentum = codes[stay], ahead[stay], momentum[stay]
                    correlations = correlations[stay]
                    if not len(going):
                        return done
            gradient = self.gradient(ahead, signals, correlations)
            stepped = self.penalty.shrink(
                ahead - gradient / self.lipschitz, weights[:, None] / self.lipschitz
            )
            moved = stepped - codes
            uphill = ((ahead - stepped) * moved).sum(-1, keepdim=True) > 0
            following = (1 + (1 + 4 * momentum.square()).sqrt()) / 2
            pace = torch.where(uphill, 0.0, (momentum - 1) / following)
            momentum = torch.where(uphill, 1.0, following)
            ahead, codes = stepped + pace * moved, stepped
        done[going] = codes
        return done
