"""The variational autoencoder's bottleneck, for any location-scale family."""

import math
import warnings
from collections.abc import Mapping
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn import functional as F

from narrows.bottlenecks.base import BETA, Bottleneck, RateArgument
from narrows.codes import Code, Values
from narrows.distributions import Family, Normal, divergence_is_finite
from narrows.functional.ranks import total_over_ranks
from narrows.latent import Latent
from narrows.priors.base import Prior
from narrows.priors.factorial import Factorial

Kl: TypeAlias = Literal["closed", "monte_carlo"]
SMALLEST_SCALE = 1e-4  # of the family's own; keeps log s and 1/s finite in float32
_RAW_OF_ONE = math.log(math.expm1(1 - SMALLEST_SCALE))  # features of 0 give a scale of 1


class Variational(Bottleneck):
    """q(code | x) = family(location, scale), drawn by reparameterisation.

    The features are `[location, raw]`, and scale = family.scale * (eps + softplus(raw + c)) with
    eps = 1e-4 and c = log(e^(1 - eps) - 1), so that features of zero give the family's standard
    member. In training code = location + scale * noise; in eval code = location
    (`Latent.posterior.sample()` draws on request). z = asinh(code) with `squash`, else the code.

    The KL belongs to the prior: `Prior.rate`. With `free_bits` the latent has the term
    sum_j max(free_bits - mean KL_j, 0) over dimensions j, whose sum with the rate is
    sum_j max(free_bits, mean KL_j) at beta = 1.

    Args:
        dim: width of the code; the encoder delivers `2 * dim` features.
        posterior: the family of q; normal by default.
        prior: the family of the default prior; the posterior's own by default.
        kl: "closed" or "monte_carlo"; None takes the closed form where there is one.
        squash: whether z = asinh(code). None squashes the heavy-tailed posteriors (Cauchy,
            Student), under which squared error has an infinite mean with an unbounded decoder.
        free_bits: nats that each dimension (summed over its sites) may spend free of charge.

    Raises:
        ValueError: if KL(q || p) is infinite, or the closed form asked for does not exist.

    Source: Kingma & Welling (2014); free bits: Kingma et al. (2016), appendix C.8.

    Example:
        >>> import torch
        >>> latent = Variational(3).eval()(torch.zeros(5, 6))
        >>> latent.z.shape, float(latent.posterior.scale.mean())
        (torch.Size([5, 3]), 1.0)
    """

    rate_argument: RateArgument | None = BETA
    nodes: Tensor

    def __init__(
        self,
        dim: int,
        posterior: Family | None = None,
        *,
        prior: Family | None = None,
        kl: Kl | None = None,
        squash: bool | None = None,
        free_bits: float = 0.0,
    ) -> None:
        super().__init__(2 * dim, dim)
        self.dim: int = dim
        self.posterior: Family = Normal() if posterior is None else posterior
        self.prior: Family = self.posterior if prior is None else prior
        self.kl: Kl | None = kl
        _refuse_without_divergence(self.posterior, self.prior, kl)
        if free_bits < 0:
            raise ValueError(f"Variational: free_bits must be at least 0, got {free_bits}")
        self.free_bits: float = free_bits
        self.whole_batch: bool = free_bits > 0
        self.squash: bool = self.posterior.heavy_tailed if squash is None else squash
        self.register_constant("nodes", lambda: _quantiles(self.posterior))
        # Made once, because no module can be made inside a compiled forward pass; not a part.
        self._measure = (Factorial((), dim, family=self.prior, kl=kl),)
        if self.posterior.heavy_tailed and not self.squash:
            warnings.warn(
                f"Variational: {self.posterior!r} without a squash: an unbounded decoder has an "
                "infinite expected squared error under it; leave squash=None, or bound the "
                "decoder's output",
                stacklevel=2,
            )

    @property
    def weights(self) -> Mapping[str, float]:
        """Free bits enter the loss with weight 1, as the rate does at beta = 1."""
        return {"free_bits": 1.0} if self.free_bits else {}

    @property
    def codes(self) -> Values:
        """Values: the posterior's location in eval, a draw in training."""
        return Values(self.dim)

    def forward(self, features: Tensor) -> Latent:
        """Codes features `[batch, *sites, 2 * dim]`; draws in training."""
        features = self._check(features)
        location, raw = features.split(self.dim, -1)
        scale = positive(raw)
        if self.posterior.scale != 1:
            scale = scale * self.posterior.scale
        code = location
        if self.training:
            code = torch.addcmul(location, scale, self.posterior.noise(location.detach()))
        posterior = self.posterior.at(location, scale)
        terms = {}
        if self.free_bits:
            kl = self._divergence(posterior, location, scale).sum(0)
            # Counted by a sum: the number of examples stays free under export.
            kl = torch.cat([kl, kl.new_ones(location.shape[0]).sum(0, keepdim=True)])
            if self.training:  # the mean over the batch of all ranks
                kl = total_over_ranks(kl)
            kl = kl[:-1] / kl[-1].clamp(min=1)
            short = (self.free_bits - kl).clamp(min=0).sum()
            terms["free_bits"] = short.expand(location.shape[0])
        return Latent(
            z=self.embed(code),
            code=code,
            features=features.detach(),
            posterior=posterior,
            terms=terms,
            # Measures are taken in eval; a training step need not wait for them.
            stats={} if self.training else self._stats(posterior, location, scale),
        )

    def embed(self, code: Code) -> Tensor:
        """The code, or its asinh."""
        values = self.codes.check(code)
        return torch.asinh(values) if self.squash else values

    def default_prior(self, sites: tuple[int, ...]) -> Prior:
        """Independent dimensions of the family `prior`."""
        return Factorial(sites, self.dim, family=self.prior, kl=self.kl)

    def summary(self, totals: Mapping[str, Tensor], examples: int) -> dict[str, float]:
        """Active units and nats per dimension.

        A unit is active where the variance of its posterior location over the data exceeds 0.01
        (Burda et al., 2016, section 5).
        """
        positions = totals["positions"]
        variance = totals["mean_square"] / positions - (totals["mean"] / positions).square()
        kl = totals["kl"] / max(examples, 1)
        return {
            "active_units": float((variance > 0.01).sum()),
            "units": float(self.dim),
            "kl_nats": float(kl.sum()),
            "kl_nats_largest": float(kl.max()),
            "kl_nats_smallest": float(kl.min()),
        }

    def advice(self, summary: Mapping[str, float]) -> list[str]:
        """Says so when units have collapsed to the prior."""
        active, units = int(summary["active_units"]), int(summary["units"])
        if active > units // 4:
            return []
        return [
            f"{active}/{units} units active (KL {summary['kl_nats'] / math.log(2):.3g} bits): "
            "posterior collapse; try free bits (free_bits=0.1), a beta warm-up or a smaller beta"
        ]

    def _divergence(self, posterior: Distribution, location: Tensor, scale: Tensor) -> Tensor:
        """KL of every example and dimension, summed over sites, `[batch, dim]`; no chance in it."""
        (prior,) = self._measure
        draws = None
        if not prior.is_closed(posterior):
            draws = location + scale * self.nodes.reshape(-1, *[1] * location.dim()).to(location)
        kl = prior.divergence(posterior, draws)
        return kl.reshape(location.shape[0], location.shape[1:-1].numel(), self.dim).sum(1)

    @torch.no_grad()
    def _stats(self, posterior: Distribution, location: Tensor, scale: Tensor) -> dict[str, Tensor]:
        """The totals behind `summary`."""
        positions = math.prod(location.shape[:-1])  # Size.numel() would fix the batch in export
        flat = location.reshape(positions, self.dim)
        kl = self._divergence(posterior, location, scale)
        return {
            "kl": kl.sum(0, dtype=torch.float64),
            "mean": flat.sum(0, dtype=torch.float64),
            "mean_square": flat.double().square().sum(0),
            "positions": torch.full((), positions, dtype=torch.float64, device=flat.device),
        }


def positive(raw: Tensor) -> Tensor:
    """A scale from an unbounded feature: 1 at 0, linear far above, never below 1e-4."""
    return F.softplus(raw + _RAW_OF_ONE) + SMALLEST_SCALE


def unbounded(scale: Tensor) -> Tensor:
    """The feature that `positive` makes this scale of."""
    above = (scale - SMALLEST_SCALE).clamp_min(1e-6)
    return above + torch.log(-torch.expm1(-above)) - _RAW_OF_ONE


def _quantiles(family: Family, count: int = 32) -> Tensor:
    """Midpoint quantiles of the standard noise: nodes that integrate KL without chance.

    Accounts of the KL have to be the same however the data is cut into batches, and must not
    touch the caller's random numbers; so where no closed form is known they average these.
    """
    draws = family.noise(torch.empty(count * 513), torch.Generator().manual_seed(0)).sort().values
    nodes = draws.reshape(count, 513)[:, 256]
    return 0.5 * (nodes - nodes.flip(0))  # the families are symmetric


def _refuse_without_divergence(posterior: Family, prior: Family, kl: Kl | None) -> None:
    """Refuses pairs whose KL is infinite, and closed forms that do not exist."""
    if kl not in (None, "closed", "monte_carlo"):
        raise ValueError(f"Variational: kl must be 'closed', 'monte_carlo' or None, got {kl!r}")
    if not divergence_is_finite(posterior, prior):
        raise ValueError(
            f"Variational: KL({posterior!r} || {prior!r}) is infinite: the posterior has no "
            f"moment of order {prior.growth:g}, at which -log p grows; take a prior with tails as "
            "heavy as the posterior's"
        )
    kind = type(posterior.at(torch.zeros(1), torch.ones(1)))
    if kl == "closed" and kind not in prior.closed:
        known = ", ".join(known.__name__ for known in prior.closed) or "none"
        raise ValueError(
            f"Variational: KL({posterior!r} || {prior!r}) has no closed form (posteriors that "
            f"have one under this prior: {known}); use kl='monte_carlo'"
        )
