"""Finite scalar quantisation: each dimension rounded to a few levels, and no codebook."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from narrows.bottlenecks.base import Gradient, RateArgument
from narrows.bottlenecks.indexed import Indexed
from narrows.bottlenecks.quantizers.bounds import Bound, Tanh
from narrows.codes import Code
from narrows.functional.straight_through import straight_through
from narrows.latent import Latent

LARGEST = 1 << 20
"""Most codes of which a histogram is kept."""


class FiniteScalarQuantizer(Indexed):
    """z_i = a (2 j_i / (L_i - 1) - 1), j_i = round((L_i - 1) (u_i + 1) / 2), u = b(x / a).

    The bound b is tanh, and the scale a is 1, unless others are given. Each of the prod L_i codes
    is an index, sum_i j_i prod_{m<i} L_m; nothing is learned here and nothing can collapse. The
    gradient is that of the bound, straight through the rounding. There is no extra loss.

    With noise, each number of a training batch is with that probability not rounded: it becomes
    a (u_i + e), e uniform within +-1 / (L_i - 1), and its gradient is exact. The code of a training
    batch is then z itself.

    Args:
        levels: L_i >= 2 for each dimension, at most 2^20 codes in all. The paper's choices:
            [8, 6, 5] for about 2^8 codes, [8, 5, 5, 5] for 2^10, [7, 5, 5, 5, 5] for 2^12.
        bound: b; `Tanh(0.8)` is iFSQ, `NormalCdf()` makes all levels of normal features equally
            probable, `Clamp()` is for residual stages.
        noise: probability of noise in place of rounding, in training.
        scale: a, the largest value.
        entropy_constraint: lambda, as of `CodebookLearning`: the code is then chosen among all
            of them, in the place of a u; None rounds each dimension.

    Raises:
        ValueError: if a level is below 2, there are too many codes, or an option is out of range.
        TypeError: if `bound` is no `Bound`.

    Source: Mentzer et al. 2023, "Finite Scalar Quantization", section 3.1. For even L the paper
        shifts the levels by half a step so that one of them is 0; here they stay symmetric, as in
        Parker et al. 2024, "Scaling Transformers for Low-Bitrate High-Quality Speech Coding",
        where also the noise comes from (with probability 1/2).

    Example:
        >>> quantizer = FiniteScalarQuantizer([8, 5, 5, 5])
        >>> quantizer(torch.randn(2, 8, 8, 4)).code.shape, quantizer.size
        (torch.Size([2, 8, 8]), 1000)
    """

    rate_argument: RateArgument | None = RateArgument(
        "bottleneck.levels", ("[4,4]", "[8,8]", "[8,6,5]", "[8,8,16]")
    )
    gradient: Gradient = "estimated"
    bases: Tensor
    tops: Tensor

    def __init__(
        self,
        levels: Sequence[int],
        bound: Bound = Tanh(),  # noqa: B008 (frozen)
        *,
        noise: float = 0.0,
        scale: float = 1.0,
        entropy_constraint: float | None = None,
    ) -> None:
        levels = [int(level) for level in levels]
        if not levels or min(levels) < 2:
            raise ValueError(f"FiniteScalarQuantizer: expected levels of at least 2, got {levels}")
        if math.prod(levels) > LARGEST:
            raise ValueError(
                f"FiniteScalarQuantizer: expected at most 2^20 codes, got {math.prod(levels)} from "
                f"{levels}; put several such quantisers side by side with Split"
            )
        if not 0 <= noise <= 1 or not 0 < scale < math.inf:
            raise ValueError(
                "FiniteScalarQuantizer: expected noise in [0, 1] and a scale above 0, got "
                f"{noise} and {scale}"
            )
        super().__init__(math.prod(levels), len(levels), entropy_constraint=entropy_constraint)
        self.levels = levels
        self.bound: Bound = bound
        self.scale: float = scale
        self.noise: float = noise
        self.noisy: bool = noise > 0
        bases = [math.prod(levels[:i]) for i in range(len(levels))]
        self.register_constant("bases", lambda: torch.tensor(bases))
        self.register_constant("tops", lambda: torch.tensor(levels) - 1)

    def forward(self, features: Tensor) -> Latent:
        """Codes features `[batch, *sites, dim]`; the code is int64 indices `[batch, *sites]`."""
        features = self._check(features)
        bounded = self._compared(features)
        code = self._chosen(bounded.detach())
        stats = self._tally(code)
        z = straight_through(bounded, self.vectors(code).to(bounded.dtype))
        if self.training and self.noisy:
            cell = 2 * torch.rand_like(bounded) - 1
            noised = bounded + cell * (self.scale / self.tops)
            z = code = torch.where(torch.rand_like(bounded) < self.noise, noised, z)
        return Latent(z, code, features.detach(), stats=stats)

    def embed(self, code: Code) -> Tensor:
        """The levels that indices mean; what training coded with noise as it is."""
        if self.noisy and isinstance(code, Tensor) and code.is_floating_point():
            return code
        return super().embed(code)

    def vectors(self, index: Tensor) -> Tensor:
        """The levels in [-a, a], `[batch, *sites, dim]`, of indices `[batch, *sites]`."""
        digits = index.unsqueeze(-1) // self.bases % (self.tops + 1)
        # Doubled and centred as integers first, so that rounding is left to one division.
        dtype = torch.promote_types(self.dtype, torch.float32)
        return (2 * digits - self.tops).to(dtype) / self.tops * self.scale

    def assign(self, features: Tensor) -> Tensor:
        """The indices `[...]` of features `[..., dim]`."""
        return self._chosen(self._compared(features))

    def _compared(self, features: Tensor) -> Tensor:
        return self.scale * self.bound(features / self.scale, self.tops + 1)

    def _chosen(self, bounded: Tensor) -> Tensor:
        """The index nearest to a u, or the cheapest."""
        if self.constraint is not None:
            return self._search(bounded, self.codewords)
        digits = torch.round((bounded / self.scale + 1) / 2 * self.tops).long()
        digits = torch.minimum(digits.clamp_min(0), self.tops)
        return (digits * self.bases).sum(-1)  # integers: exact in any precision

    def _learn(self, features: Tensor, index: Tensor) -> bool:
        return super()._learn(features, self.assign(features) if self.noisy else index)
