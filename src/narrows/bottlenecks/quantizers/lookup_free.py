"""Lookup-free quantisation: each dimension becomes its sign, one bit."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from narrows.bottlenecks.base import Gradient, RateArgument
from narrows.bottlenecks.indexed import Estimate, Indexed
from narrows.functional.commitment import commit
from narrows.functional.ranks import sum_over_ranks
from narrows.functional.straight_through import straight_through
from narrows.latent import Latent

LARGEST = 20
"""Most bits of which a histogram is kept."""


class LookupFreeQuantizer(Indexed):
    """z_i = s sign(x_i), one bit for each dimension; s = 1, or 1/sqrt(dim) on a sphere.

    An assignment p(bit_i = 1 | x) = sigmoid(4 t x_i / s), which is the softmax over all 2^dim
    codes of -(t / s^2) ||x - c||^2, factorised, gives two entropies in nats, summed over sites:

        `entropy`   = sum_i H(p_i(x)), low where each feature is sure of its code;
        `diversity` = sum_i cross entropy of p_i(x) with the mean m_i of p_i over the data, whose
                      mean over the data is H(m), high where all codes are used alike.

    The loss adds w (entropy - diversity). The papers take H of the mean over the batch; here m is
    a moving average, kept in `update`: the gradient is the same where m is the batch's mean, and
    each example's term depends on that example alone, whatever the batch, micro-batch or rank.

    Args:
        dim: number of bits, at most 20.
        spherical: whether features are first brought to unit length (BSQ).
        commitment: weight of ||x - sg[z]||^2 (sum over sites and dimensions).
        entropy: w, weight of both entropies.
        sharpness: t; the larger, the harder the assignment.
        decay: of the moving average m; the longer it lags, the more the bits swing about it.
        entropy_constraint: lambda, as of `CodebookLearning`; None takes the signs.

    Raises:
        ValueError: if an argument is out of range.

    Source: Yu et al. 2023 (MAGVIT-v2), equations 2 to 5; spherical Zhao et al. 2024 (BSQ),
        equations 9 to 13, where also the factorised entropies come from.

    Example:
        >>> quantizer = LookupFreeQuantizer(dim=10, spherical=True)
        >>> quantizer(torch.randn(2, 8, 8, 10)).code.max() < 1024
        tensor(True)
    """

    rate_argument: RateArgument | None = RateArgument("bottleneck.dim", ("4", "6", "8", "10"))
    follows: bool = True
    marginal: Tensor
    powers: Tensor

    def __init__(
        self,
        dim: int,
        spherical: bool = False,
        *,
        commitment: float = 0.25,
        entropy: float = 0.1,
        sharpness: float = 1.0,
        decay: float = 0.5,
        entropy_constraint: float | None = None,
    ) -> None:
        fine = commitment >= 0 and entropy >= 0 and sharpness > 0 and 0 <= decay < 1
        if not 1 <= dim <= LARGEST or not fine:
            raise ValueError(
                f"LookupFreeQuantizer: expected 1 <= dim <= {LARGEST} (more: several side by "
                "side with Split), commitment and entropy >= 0, sharpness > 0, decay in [0, 1), "
                f"got {dim}, {commitment}, {entropy}, {sharpness}, {decay}"
            )
        super().__init__(1 << dim, dim, entropy_constraint=entropy_constraint)
        self.spherical: bool = spherical
        self.sharpness: float = sharpness
        self.decay: float = decay
        self.commitment: float = commitment
        self.entropy: float = entropy
        self.gradient: Gradient = "estimated" if spherical else "straight_through"
        self.unit = spherical
        self.estimate: Estimate | None = None if spherical else straight_through
        self.scale: float = dim**-0.5 if spherical else 1.0
        self.register_buffer("marginal", torch.full((dim,), 0.5))
        self.register_constant("powers", lambda: 1 << torch.arange(dim))

    @property
    def weights(self) -> Mapping[str, float]:
        """Of the commitment and the two entropies; diversity is to be high."""
        entropy = self.entropy
        return {"commitment": self.commitment, "entropy": entropy, "diversity": -entropy}

    def forward(self, features: Tensor) -> Latent:
        """Codes features `[batch, *sites, dim]`; the code is int64 indices `[batch, *sites]`."""
        features = self._check(features)
        x = self._compared(features)
        if self.constraint is None:
            bits = (x.detach() >= 0).long()
        else:
            bits = self._bits(self._search(x, self.codewords))
        code = (bits * self.powers).sum(-1)  # integers: exact in any precision
        value = self._values(bits).to(x.dtype)
        logit = 4 * self.sharpness / self.scale * x
        p = torch.sigmoid(logit)
        mean = self.marginal.to(x.dtype).clamp(1e-6, 1 - 1e-6)
        z, distance = commit(x, value)
        terms = {
            "commitment": distance,
            # H(p) = softplus(l) - p l for p = sigmoid(l), without the logarithm of 0.
            "entropy": (F.softplus(logit) - p * logit).flatten(1).sum(1),
            "diversity": -(p * mean.log() + (1 - p) * (1 - mean).log()).flatten(1).sum(1),
        }
        return Latent(z, code, features.detach(), terms=terms, stats=self._tally(code))

    def vectors(self, index: Tensor) -> Tensor:
        """The signs times s, `[batch, *sites, dim]`, of indices `[batch, *sites]`."""
        return self._values(self._bits(index)).to(self.marginal.dtype)

    def _learn(self, features: Tensor, index: Tensor) -> bool:
        """The moving average of each bit's probability, over all ranks."""
        super()._learn(features, index)
        x = self._compared(features)
        p = torch.sigmoid(4 * self.sharpness / self.scale * x)
        totals = sum_over_ranks(torch.cat([p.sum(0), p.new_full((1,), len(p))]))
        if bool(totals[-1] > 0):
            mean = (totals[:-1] / totals[-1]).to(self.marginal.dtype)
            self.marginal.lerp_(mean, 1 - self.decay)
        return False

    def _compared(self, features: Tensor) -> Tensor:
        return F.normalize(features, dim=-1) if self.spherical else features

    def _bits(self, index: Tensor) -> Tensor:
        return index.unsqueeze(-1) // self.powers % 2

    def _values(self, bits: Tensor) -> Tensor:
        return (2 * bits - 1) * self.scale
