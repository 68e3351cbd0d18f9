"""Rounding: every number becomes an integer, and training sees what the integers cost."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.distributions import Uniform

from narrows.bottlenecks.base import BETA, Bottleneck, Gradient, RateArgument
from narrows.codes import Code, Indices, tensors
from narrows.functional.straight_through import straight_through
from narrows.functional.usage import tally, usage
from narrows.latent import Latent
from narrows.priors.base import Prior
from narrows.priors.categorical import MovingHistogram
from narrows.priors.hyperprior import MeanScaleHyperprior


class Rounded(Bottleneck):
    """code = round(x / step), z = step * code; rate = -log p(code), minimised with the distortion.

    Rounding has no gradient, so training prices x / step + u, u uniform in [-1/2, 1/2]: its rate
    is that of the integers where their density is smooth, and differentiable. `Latent.posterior`
    is this uniform distribution, and the rate is KL(q || p), as -log q = 0. The decoder sees the
    rounded numbers, straight through, or with estimator="noise" the noisy ones, too.

    Integers are stored as indices 0..2 * reach, so that every prior of indices is one for them.
    Features beyond reach * step are cut off.

    Args:
        dim: numbers at each site.
        step: width of a cell, in units of the features. Those of a new encoder are about 1: with
            fine cells training begins at a high rate and brings it down, which ends better.
        reach: largest absolute integer.
        estimator: how the decoder's gradient passes: "straight_through" or "noise".
        side: channels of the side code of a `MeanScaleHyperprior`, for sites that are a map; None
            prices each number by a histogram of its own.

    Raises:
        ValueError: if an argument is out of its range.

    Source: Balle, Laparra & Simoncelli (2017), "End-to-end optimized image compression", section
        3; rounded numbers for the decoder beside a noisy rate: Minnen & Singh (2020),
        "Channel-wise autoregressive entropy models", section 3.3.

    Example:
        >>> latent = Rounded(dim=2, step=1.0).eval()(torch.tensor([[0.4, -1.7]]))
        >>> latent.z, latent.code
        (tensor([[ 0., -2.]]), tensor([[127, 125]]))
    """

    rate_argument: RateArgument | None = BETA
    gradient: Gradient = "straight_through"
    anchor: Tensor

    def __init__(
        self,
        dim: int,
        *,
        step: float = 0.25,
        reach: int = 127,
        estimator: Literal["straight_through", "noise"] = "straight_through",
        side: int | None = None,
    ) -> None:
        super().__init__(dim, dim)
        if not 0 < step < float("inf") or reach < 1:
            raise ValueError(
                f"Rounded: expected a positive step and reach >= 1, got {step} and {reach}"
            )
        if estimator not in ("straight_through", "noise"):
            raise ValueError(
                f"Rounded: expected the estimator straight_through or noise, got {estimator!r}"
            )
        self.step: float = step
        self.reach: int = reach
        self.estimator: Literal["straight_through", "noise"] = estimator
        self.side: int | None = side
        self.register_constant("anchor", lambda: torch.zeros(()))  # knows z's dtype

    @property
    def codes(self) -> Indices:
        """The integers plus `reach`, `dim` at each site."""
        return Indices(2 * self.reach + 1, self.out_features)

    def forward(self, features: Tensor) -> Latent:
        """Codes features `[batch, *sites, dim]`; noise in training only."""
        features = self._check(features)
        place = features / self.step + self.reach  # in units of the index
        code: Tensor = place.detach().clamp(0, 2 * self.reach).round().long()
        stats = {"counts": self._tally(code)}
        posterior = None
        if self.training:
            posterior = Uniform(place - 0.5, place + 0.5, validate_args=False)
        if posterior is not None and self.estimator == "noise":
            code = posterior.rsample()
            z = self.embed(code)
        else:
            z = straight_through(features, self.embed(code).to(features.dtype))
        return Latent(z, code, features.detach(), posterior=posterior, stats=stats)

    def embed(self, code: Code) -> Tensor:
        """The numbers that indices stand for; noisy ones as they are."""
        first, *others = tensors(code)
        if not first.is_floating_point() or others:
            first = self.codes.check(code).to(self.anchor.dtype)
        return (first - self.reach) * self.step

    def default_prior(self, sites: tuple[int, ...]) -> Prior:
        """A histogram of each number, which follows training; or a hyperprior."""
        if self.side is not None:
            return MeanScaleHyperprior(
                sites, self.codes.size, channels=self.out_features, side=self.side
            )
        return MovingHistogram(sites, self.codes.size, channels=self.out_features)

    def summary(self, totals: Mapping[str, Tensor], _examples: int, /) -> dict[str, float]:
        """Units that say anything, bits a site, and the share of numbers at the ends of reach."""
        counts = totals["counts"]
        entropies = [usage(row)["entropy_bits"] for row in counts]
        ends = (counts[:, 0] + counts[:, -1]).sum() / counts.sum().clamp_min(1)
        return {
            "active_units": float(sum(bits > 0.01 for bits in entropies)),
            "units": float(self.out_features),
            "entropy_bits": sum(entropies),
            "cut_off": float(ends),
        }

    def advice(self, summary: Mapping[str, float]) -> list[str]:
        """Says so when most units are silent, or numbers are cut off."""
        found = []
        active, units = int(summary["active_units"]), self.out_features
        if active <= units // 4:
            found.append(
                f"{active}/{units} units active: the code is rounded away; take a smaller beta, a "
                f"smaller step (step={self.step / 4:g}) or a beta warm-up"
            )
        if summary["cut_off"] > 0.001:
            found.append(
                f"{summary['cut_off']:.2%} of the numbers are at the ends of reach or beyond: take "
                f"a larger reach (reach={4 * self.reach}) or step"
            )
        return found

    def _tally(self, code: Tensor) -> Tensor:
        """How often each number is each integer, `[dim, size]`."""
        size, dim = self.codes.size, self.out_features
        offsets = size * torch.arange(dim, device=code.device)
        return tally(code + offsets, size * dim).view(dim, size)
