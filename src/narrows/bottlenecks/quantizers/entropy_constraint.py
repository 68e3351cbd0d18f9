"""Vector quantisation that pays for the bits of an index as it chooses it."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from narrows.functional.nearest import nearest
from narrows.functional.ranks import sum_over_ranks
from narrows.functional.usage import tally

_DECAY = 0.98


class EntropyConstraint(nn.Module):
    """k = argmin_k ||x - c_k||^2 + lambda v (-log p_k).

    v is the variance of a feature (the mean over its dimensions) and p_k how often k was chosen
    lately, (n_k + 1) / (N + K); both follow in `update`. The search is the plain one with one more
    dimension: 0 in x, sqrt(lambda v (-log p_k)) in c_k.

    Args:
        size: number K of codewords.
        strength: lambda at first; a nat costs as much as a squared distance of lambda v.

    Raises:
        ValueError: if lambda is not positive and finite.

    Source: Chou, Lookabaugh & Gray (1989), "Entropy-constrained vector quantization", equation 8.
    """

    counts: Tensor
    variance: Tensor
    strength: Tensor

    def __init__(self, size: int, strength: float) -> None:
        super().__init__()
        if not 0 < strength < math.inf:
            raise ValueError(f"expected an entropy_constraint above 0, or None, got {strength}")
        self.register_buffer("counts", torch.zeros(size))
        self.register_buffer("variance", torch.zeros(()))
        self.register_buffer("strength", torch.tensor(strength))

    def cost(self) -> Tensor:
        """What each codeword costs, `[size]`, in squared units of the features."""
        log_p = (self.counts + 1).log() - (self.counts.sum() + len(self.counts)).log()
        return -self.strength * self.variance * log_p

    def nearest(self, x: Tensor, codes: Tensor) -> Tensor:
        """Index of the codeword of least distance and cost, `[...]`.

        Args:
            x: features `[..., dim]`.
            codes: `[size, dim]`.
        """
        last = self.cost().sqrt().to(codes.dtype).unsqueeze(1)
        return nearest(F.pad(x, (0, 1)), torch.cat([codes, last], 1))

    @torch.no_grad()
    def update(self, x: Tensor, index: Tensor, codes: Tensor) -> None:
        """Follows one step's features `[n, dim]` and the indices `[n]` that they were given."""
        middle = codes.mean(0)  # taken off, so that squares stay small; the same on every rank
        near = x - middle
        sums = torch.stack([torch.ones_like(middle) * len(x), near.sum(0), near.square().sum(0)])
        parts = torch.cat([sums.flatten(), tally(index, len(codes)).to(sums)])
        number, first, second = sum_over_ranks(parts)[: sums.numel()].view(3, -1)
        if not bool(number[0] > 0):
            return
        variance = (second / number - (first / number).square()).mean()
        fresh = not bool(self.variance > 0)
        self.variance.lerp_(variance.to(self.variance), 1.0 if fresh else 1 - _DECAY)
        self.counts.mul_(_DECAY).add_(parts[sums.numel() :].to(self.counts))
