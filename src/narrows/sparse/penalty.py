"""The lasso's problem: penalty, objective, and the duality gap that certifies a solution."""

from dataclasses import dataclass

import torch
from torch import Tensor

from narrows.kernels import sparse as kernels
from narrows.sparse.solution import SparseSolution, check_problem, from_dense


@dataclass(frozen=True, eq=False)
class L1:
    r"""The penalty lambda |z|_1 + ridge/2 |z|^2, perhaps with z >= 0.

    .. math:: \min_z \tfrac12 |x - z D|^2 + \lambda |z|_1 + \tfrac{\mu}{2} |z|^2

    Attributes:
        weight: lambda, in units of the correlations <x, d_j>; a number, or one for each signal
            `[n]`. With relative=True the fraction rho of lambda_max(x), the smallest lambda
            whose solution is 0: rho >= 1 gives the zero code, whatever the signal's scale.
        relative: whether weight is that fraction.
        ridge: mu of the elastic net.
        nonnegative: whether codes must be >= 0.

    Raises:
        ValueError: if weight or ridge is negative or not finite.

    Source:
        Tibshirani 1996 (lasso); Zou and Hastie 2005 (elastic net). scikit-learn's
        `sparse_encode(alpha=lambda)` minimises the same, without rescaling.
    """

    weight: float | Tensor
    relative: bool = False
    ridge: float = 0.0
    nonnegative: bool = False

    def __post_init__(self) -> None:
        with torch.device("cpu"):  # also where parts are being made on a meta device
            weight = torch.as_tensor(self.weight)
        if not bool(((weight >= 0) & weight.isfinite()).all()):
            raise ValueError(f"expected an L1 weight lambda >= 0, got {self.weight}")
        if not 0 <= self.ridge < float("inf"):
            raise ValueError(f"expected ridge >= 0, got {self.ridge}")

    def resolve(self, signals: Tensor, dictionary: Tensor) -> Tensor:
        """Lambda of each signal, `[n]`.

        Raises:
            ValueError: if weight is a tensor of another length.
        """
        weight = torch.as_tensor(self.weight, dtype=signals.dtype, device=signals.device)
        if weight.dim() > 1 or (weight.dim() == 1 and len(weight) != len(signals)):
            raise ValueError(
                f"expected one L1 weight or one for each of {len(signals)} signals, got shape "
                f"{tuple(weight.shape)}"
            )
        if self.relative:
            weight = weight * max_penalty(signals, dictionary, nonnegative=self.nonnegative)
        return weight.expand(signals.shape[0])

    def shrink(self, value: Tensor, threshold: Tensor) -> Tensor:
        """Proximal map of threshold * |.|_1 (over z >= 0 if nonnegative)."""
        if self.nonnegative:
            return (value - threshold).clamp_min(0)
        return value - value.clamp(-threshold, threshold)


def max_penalty(signals: Tensor, dictionary: Tensor, *, nonnegative: bool = False) -> Tensor:
    """lambda_max = max_j |<x, d_j>|, above which the lasso's solution is 0; `[n]`."""
    differentiated = torch.is_grad_enabled() and (signals.requires_grad or dictionary.requires_grad)
    if signals.shape[1:] == dictionary.shape[1:] and not differentiated:
        strongest = kernels.select(signals, dictionary, 1, nonnegative)
        if strongest is not None:
            return strongest[1][:, 0].abs()
    correlations = signals @ dictionary.T
    if nonnegative:
        return correlations.amax(-1).clamp_min(0)
    return correlations.abs().amax(-1)


def certify(
    signals: Tensor, dictionary: Tensor, codes: Tensor, weights: Tensor, penalty: L1
) -> tuple[Tensor, Tensor]:
    r"""Objective of dense codes, and their duality gap.

    The residual r = x - z D, scaled by s = min(1, lambda / max_j |<r, d_j> - mu z_j|), is
    feasible for the dual, whose value there is

    .. math:: s\, x^T r - \tfrac{s^2}{2} (|r|^2 + \mu |z|^2).

    Objective minus that bounds the distance to the optimum from above; both are `[n]`, in squared
    units of the signals, for codes `[n, K]` and lambda given as weights `[n]`. Computed in double
    precision, whatever that of the codes.

    Source:
        Kim et al. 2007, "An Interior-Point Method for Large-Scale l1-Regularized Least
        Squares", section III; the elastic net as a lasso with augmented signals.
    """
    dtype = signals.dtype
    signals, dictionary, codes = signals.double(), dictionary.double(), codes.double()
    residual = signals - codes @ dictionary
    correlations = residual @ dictionary.T - penalty.ridge * codes
    steepest = correlations if penalty.nonnegative else correlations.abs()
    steepest = steepest.amax(-1)
    squares = residual.square().sum(-1) + penalty.ridge * codes.square().sum(-1)
    objective = squares / 2 + weights * codes.abs().sum(-1)
    rounding = 4 * signals.shape[1] * torch.finfo(signals.dtype).eps
    slack = rounding * signals.norm(dim=1) * dictionary.norm(dim=1).max()
    scale = torch.where(steepest > weights + slack, weights / steepest, 1.0)
    dual = scale * (signals * residual).sum(-1) - scale.square() * squares / 2
    gap = (objective - dual).clamp_min(0) * (1 + torch.finfo(dtype).eps)  # rounded up
    return objective.to(dtype), gap.to(dtype)


def check_lasso(
    signals: Tensor,
    dictionary: Tensor,
    penalty: L1 | float,
    budget: tuple[float, int],
    start: Tensor | None,
) -> L1:
    """Refuses a problem, tolerance, number of iterations or start that a lasso solver cannot take.

    Raises:
        ValueError: naming what was expected.
    """
    check_problem(signals, dictionary, unit_norm=False)
    tolerance, max_iterations = budget
    if not tolerance >= 0 or max_iterations < 1:
        raise ValueError(
            f"expected tolerance >= 0 and max_iterations >= 1, got {tolerance}, {max_iterations}"
        )
    if start is not None and start.shape != (len(signals), len(dictionary)):
        raise ValueError(
            f"expected start codes {(len(signals), len(dictionary))}, got {tuple(start.shape)}"
        )
    return penalty if isinstance(penalty, L1) else L1(penalty)


def certified(
    signals: Tensor,
    dictionary: Tensor,
    codes: Tensor,
    weights: Tensor,
    penalty: L1,
    tolerance: float,
) -> SparseSolution:
    """The solution that dense codes `[n, K]` are, with its certificate."""
    objective, gap = certify(signals, dictionary, codes, weights, penalty)
    atoms, values = from_dense(codes)
    done = gap <= tolerance * objective
    return SparseSolution(atoms, values, len(dictionary), objective, gap, done)
