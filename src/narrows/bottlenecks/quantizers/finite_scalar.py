"""Finite scalar quantisation: each dimension rounded to a few levels, and no codebook."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from narrows.bottlenecks.base import Gradient, RateArgument
from narrows.bottlenecks.indexed import Indexed
from narrows.functional.straight_through import straight_through
from narrows.latent import Latent

LARGEST = 1 << 20
"""Most codes of which a histogram is kept."""


class FiniteScalarQuantizer(Indexed):
    """z_i = 2 j_i / (L_i - 1) - 1 with j_i = round((L_i - 1) (tanh(x_i) + 1) / 2).

    Each of the prod L_i codes is an index, sum_i j_i prod_{m<i} L_m; nothing is learned here and
    nothing can collapse. The gradient is that of tanh, straight through the rounding. There is
    no extra loss.

    Args:
        levels: L_i >= 2 for each dimension, at most 2^20 codes in all. The paper's choices:
            [8, 6, 5] for about 2^8 codes, [8, 5, 5, 5] for 2^10, [7, 5, 5, 5, 5] for 2^12.
        entropy_constraint: lambda, as of `CodebookLearning`: the code is then chosen among all
            of them, in the place of tanh(x); None rounds each dimension.

    Raises:
        ValueError: if a level is below 2 or there are too many codes.

    Source: Mentzer et al. 2023, "Finite Scalar Quantization", section 3.1. For even L the paper
        shifts the levels by half a step so that one of them is 0; here they stay symmetric.

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

    def __init__(self, levels: Sequence[int], *, entropy_constraint: float | None = None) -> None:
        levels = [int(level) for level in levels]
        if not levels or min(levels) < 2:
            raise ValueError(f"FiniteScalarQuantizer: expected levels of at least 2, got {levels}")
        if math.prod(levels) > LARGEST:
            raise ValueError(
                f"FiniteScalarQuantizer: expected at most 2^20 codes, got {math.prod(levels)} from "
                f"{levels}; put several such quantisers side by side with Split"
            )
        super().__init__(math.prod(levels), len(levels), entropy_constraint=entropy_constraint)
        self.levels = levels
        bases = [math.prod(levels[:i]) for i in range(len(levels))]
        self.register_constant("bases", lambda: torch.tensor(bases))
        self.register_constant("tops", lambda: torch.tensor(levels) - 1)

    def forward(self, features: Tensor) -> Latent:
        """Codes features `[batch, *sites, dim]`; the code is int64 indices `[batch, *sites]`."""
        features = self._check(features)
        bounded = torch.tanh(features)
        if self.constraint is None:
            digits = torch.round((bounded.detach() + 1) / 2 * self.tops).long()
        else:
            digits = self._digits(self._search(bounded, self.codewords))
        code = (digits * self.bases).sum(-1)  # integers: exact in any precision
        z = straight_through(bounded, self._values(digits).to(bounded.dtype))
        return Latent(z, code, features.detach(), stats=self._tally(code))

    def vectors(self, index: Tensor) -> Tensor:
        """The levels in [-1, 1], `[batch, *sites, dim]`, of indices `[batch, *sites]`."""
        return self._values(self._digits(index))

    def _compared(self, features: Tensor) -> Tensor:
        return torch.tanh(features)

    def _digits(self, index: Tensor) -> Tensor:
        return index.unsqueeze(-1) // self.bases % (self.tops + 1)

    def _values(self, digits: Tensor) -> Tensor:
        # Doubled and centred as integers first, so that one division is the only rounding.
        dtype = torch.promote_types(self.dtype, torch.float32)
        return (2 * digits - self.tops).to(dtype) / self.tops
