"""SimVQ: a fixed random codebook seen through one learned map."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from narrows.bottlenecks.base import SIZES, Gradient, RateArgument
from narrows.bottlenecks.indexed import ESTIMATES, Estimate, Indexed
from narrows.functional.commitment import commit, commit_rotated, squared_distance
from narrows.latent import Latent
from narrows.modes import without_autocast


class SimVQ(Indexed):
    """z = c_k with k = argmin_k ||x - c_k||^2 and C = B W + b, B fixed and random, W, b learned.

    A gradient to any used code moves W and b and with them every code, so that unused codes
    follow instead of dying, without updates or revival. Terms, summed over sites and width:
    `commitment` = ||x - sg[z]||^2, weight beta, and `codebook` = ||sg[x] - z||^2, weight 1, which
    trains W and b.

    Args:
        size: number K of codes.
        dim: width of the features.
        commitment: beta.
        estimator: how the gradient passes: "straight_through" or "rotation".
        entropy_constraint: lambda, as of `CodebookLearning`; None takes the nearest code.

    Raises:
        ValueError: if an argument is out of range.

    Source: Zhu et al. 2024, "Addressing Representation Collapse in Vector Quantized Models with
        One Linear Layer", equation 8. Here B has variance 1/dim, W starts at the identity, and
        b, at 0, lets the codes follow features off the origin.

    Example:
        >>> quantizer = SimVQ(size=4096, dim=32)
        >>> quantizer(torch.randn(2, 8, 8, 32)).code.shape
        torch.Size([2, 8, 8])
    """

    rate_argument: RateArgument | None = RateArgument("bottleneck.size", SIZES)
    base: Tensor

    def __init__(
        self,
        size: int,
        dim: int,
        *,
        commitment: float = 0.25,
        estimator: Literal["straight_through", "rotation"] = "straight_through",
        entropy_constraint: float | None = None,
    ) -> None:
        super().__init__(size, dim, entropy_constraint=entropy_constraint)
        if size < 1 or commitment < 0 or estimator not in ESTIMATES:
            raise ValueError(
                "SimVQ: expected size >= 1, commitment >= 0 and estimator straight_through or "
                f"rotation, got {size}, {commitment}, {estimator!r}"
            )
        self.commitment: float = commitment
        plain = estimator == "straight_through"
        self.gradient: Gradient = "straight_through" if plain else "estimated"
        self._commit = commit if plain else commit_rotated
        self.estimate: Estimate | None = ESTIMATES[estimator]
        self.register_buffer("base", torch.randn(size, dim) * dim**-0.5)
        self.linear: nn.Parameter = nn.Parameter(torch.eye(dim))
        self.offset: nn.Parameter = nn.Parameter(torch.zeros(dim))

    @property
    def codewords(self) -> Tensor:
        """C, `[size, dim]`, in float32 or better."""
        with without_autocast(self.base.device):
            return torch.addmm(self.offset, self.base, self.linear)

    @property
    def weights(self) -> Mapping[str, float]:
        """beta for the commitment; 1 for the term that trains W and b."""
        return {"commitment": self.commitment, "codebook": 1.0}

    def forward(self, features: Tensor) -> Latent:
        """Codes features `[batch, *sites, dim]`; the code is int64 indices `[batch, *sites]`."""
        features = self._check(features)
        codes = self.codewords
        index = self._search(features, codes)
        value = F.embedding(index, codes).to(features.dtype)
        z, distance = self._commit(features, value)
        terms = {"commitment": distance, "codebook": squared_distance(features.detach(), value)}
        return Latent(z, index, features.detach(), terms=terms, stats=self._tally(index))

    def vectors(self, index: Tensor) -> Tensor:
        """The mapped vectors `[batch, *sites, dim]` of indices `[batch, *sites]`."""
        return F.embedding(index, self.codewords)
