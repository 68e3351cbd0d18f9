"""Ten accelerated proximal steps whose length is found by trial, for a whole batch at once."""

import torch
from torch import Tensor

_STEPS = 10
_FIRST_RATE = 1e-3
_SHORTER = 1.5
_TRIALS = 1000
_STOP = 1e-5


@torch.no_grad()
def backtracking_fista(signals: Tensor, dictionary: Tensor, weight: float) -> Tensor:
    """Lasso codes `[n, K]` as the sparse VAE report computes them; see `AthaydeSparse`.

    Every iteration starts its search at the same rate, tests the sum over the batch, and stops
    by the sum over the batch. `narrows.sparse.fista` is what to use.

    Args:
        signals: `[n, dim]`.
        dictionary: `[K, dim]`.
        weight: lambda.

    Source:
        Beck and Teboulle 2009, section 4 (FISTA with backtracking, where the rate carries over
        from step to step).
    """
    codes = signals.new_zeros(len(signals), len(dictionary))
    ahead, momentum = codes, 1.0
    for _ in range(_STEPS):
        following = _search(signals, dictionary, weight, ahead)
        if (codes - following).abs().sum() <= _STOP * codes.numel():
            return following
        grown = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = following + (momentum - 1) / grown * (following - codes)
        codes, momentum = following, grown
    return codes


def _search(signals: Tensor, dictionary: Tensor, weight: float, start: Tensor) -> Tensor:
    """The proximal step of the first rate whose quadratic model lies above the objective."""
    residual = start @ dictionary - signals
    slope = residual @ dictionary.T
    value, rate = residual.square().sum() / 2, _FIRST_RATE
    for _ in range(_TRIALS):
        step = start - rate * slope
        limit = rate * weight
        codes = step - step.clamp(-limit, limit)
        moved = codes - start
        reached = (codes @ dictionary - signals).square().sum() / 2
        if reached <= value + (moved * slope).sum() + moved.square().sum() / (2 * rate):
            return codes
        rate /= _SHORTER
    return start
