"""Priors of random codes whose dimensions are independent of each other."""

import math
from abc import abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn import functional as F

from narrows.distributions import Family, Normal, SpikeSlab, normal_normal
from narrows.latent import Latent
from narrows.priors.base import ValuePrior
from narrows.saving.arguments import check_draws


class Independent(ValuePrior):
    """p(code) = product over sites and dimensions of one distribution.

    The code is random: its rate is KL(q || p), and bits-back coding attains it in a file.

    Args:
        sites: shape of the grid of sites.
        dim: width of the code.

    Raises:
        ValueError: if dim is less than 1.
    """

    prices_draws = True
    coding: ClassVar[Literal["conditionals", "bits_back"] | None] = "bits_back"
    obstacle = (
        "it prices random codes; pass lossless=True (bits-back), or a prior for their means, "
        "QuantizedHistogram (with exact_zeros=True for SpikeAndSlab) fitted to training latents"
    )
    anchor: Tensor

    def __init__(self, sites: tuple[int, ...], dim: int) -> None:
        super().__init__(sites, dim)
        self.register_constant("anchor", lambda: torch.zeros(()))  # knows the device

    @abstractmethod
    def standard(self, like: Tensor) -> Distribution:
        """This prior as a distribution over tensors of the shape of `like`, elementwise."""

    @abstractmethod
    def divergence(self, posterior: Distribution) -> Tensor:
        """KL(q || p) of every dimension, of the posterior's batch shape; nats."""

    def rate(self, latent: Latent) -> Tensor:
        """KL(q || p) summed over sites and dimensions, `[batch]` in nats.

        Raises:
            ValueError: if the code is not random, or its posterior is not of the right kind.
        """
        if latent.posterior is None:
            raise ValueError(
                f"{type(self).__name__}: a deterministic continuous code has no finite rate under "
                "a density; quantize it with a stated step (narrows.priors.QuantizedHistogram), or "
                "make it random (narrows.bottlenecks.Variational)"
            )
        return self.divergence(latent.posterior).flatten(1).sum(1)

    def log_prob(self, code: Tensor) -> Tensor:
        """Log p(code), the code having any leading axes before `[*sites, dim]`; nats."""
        return self.standard(code).log_prob(code).flatten(-1 - len(self.sites)).sum(-1)

    def _like(self, n: int) -> Tensor:
        """A tensor of the shape of n codes."""
        return self.anchor.expand(n, *self.sites, self.dim).contiguous()


class Factorial(Independent):
    """Every dimension is of one family, at location 0.

    KL(q_ij || p) is exact, or the mean over draws z ~ q of log q(z) - log p(z).

    Args:
        sites: shape of the grid of sites.
        dim: width of the code.
        family: the distribution of each dimension; a standard normal by default.
        kl: "closed" or "monte_carlo"; None takes the closed form where there is one. One draw
            of "monte_carlo" has a standard deviation of about a nat per dimension.
        draws: Monte Carlo draws per rate; they are the rate's own, not those decoded.

    Example:
        >>> prior = Factorial((), dim=2)
        >>> prior.sample(3).shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        sites: tuple[int, ...],
        dim: int,
        *,
        family: Family | None = None,
        kl: Literal["closed", "monte_carlo"] | None = None,
        draws: int = 1,
    ) -> None:
        super().__init__(sites, dim)
        check_draws("Factorial", draws)
        self.family: Family = Normal() if family is None else family
        self.kl = kl
        self.draws = draws

    def is_closed(self, posterior: Distribution) -> bool:
        """True if `divergence` uses a closed form for this posterior."""
        return self.kl == "closed" or (self.kl is None and type(posterior) in self.family.closed)

    def divergence(self, posterior: Distribution, draws: Tensor | None = None) -> Tensor:
        """KL(q || p) of every dimension, of the posterior's batch shape; nats.

        Args:
            posterior: q, elementwise over `[batch, *sites, dim]`.
            draws: draws from q, `[n, batch, *sites, dim]`, to be used where the form is not
                closed; new ones by default.

        Raises:
            ValueError: if `kl="closed"` was asked for and no closed form is known.
        """
        if self.is_closed(posterior):
            return self.family.divergence(posterior)
        if draws is None:
            draws = posterior.rsample(torch.Size((self.draws,)))
        prior = self.family.standard(draws)
        return (posterior.log_prob(draws) - prior.log_prob(draws)).mean(0)

    def standard(self, like: Tensor) -> Distribution:
        """The family at location 0."""
        return self.family.standard(like)

    def sample(
        self, n: int, generator: torch.Generator | None = None, *, temperature: float = 1.0
    ) -> Tensor:
        """Draws n codes, `[n, *sites, dim]`, `temperature` times as far from 0 as the prior's."""
        return temperature * self.family.scale * self.family.noise(self._like(n), generator)


class SpikeAndSlabPrior(Independent):
    """p = a N(0, s^2) + (1 - a) delta_0 in every dimension.

    KL(q || p) per dimension = g KL(N(m, r^2) || N(0, s^2)) + g log g/a + (1 - g) log
    (1 - g)/(1 - a), for q of gate g and slab N(m, r^2).

    Args:
        sites: shape of the grid of sites.
        dim: width of the code.
        activity: a, the expected fraction of dimensions that are not 0.
        scale: s.

    Raises:
        ValueError: if the activity is not inside (0, 1), or the scale not positive.

    Source: Tonolini, Jensen & Murray-Smith (2019), "Variational sparse coding", eq. 8, for s = 1.
    """

    def __init__(
        self, sites: tuple[int, ...], dim: int, *, activity: float = 0.2, scale: float = 1.0
    ) -> None:
        super().__init__(sites, dim)
        if not 0 < activity < 1:
            raise ValueError(f"SpikeAndSlabPrior: activity must be in (0, 1), got {activity}")
        if not 0 < scale < math.inf:
            raise ValueError(f"SpikeAndSlabPrior: scale must be positive, got {scale}")
        self.activity: float = activity
        self.scale: float = scale

    def divergence(self, posterior: Distribution) -> Tensor:
        """KL(q || p) of every dimension, nats.

        Raises:
            ValueError: if the posterior is not spike and slab.
        """
        if not isinstance(posterior, SpikeSlab):
            raise ValueError(
                "SpikeAndSlabPrior: expected the latent of a SpikeAndSlab bottleneck, got the "
                f"posterior {type(posterior).__name__}; use the bottleneck's default_prior"
            )
        on, off = F.logsigmoid(posterior.logits), F.logsigmoid(-posterior.logits)
        gate = posterior.logits.sigmoid()
        slab = normal_normal(posterior.loc, posterior.scale, prior_scale=self.scale)
        gates = gate * (on - math.log(self.activity))
        return gate * slab + gates + (1 - gate) * (off - math.log1p(-self.activity))

    def standard(self, like: Tensor) -> SpikeSlab:
        """The spike and the slab, both at 0."""
        zeros = torch.zeros_like(like)
        logit = math.log(self.activity) - math.log1p(-self.activity)
        return SpikeSlab(zeros + logit, zeros, scale=zeros + self.scale)

    def sample(
        self, n: int, generator: torch.Generator | None = None, *, temperature: float = 1.0
    ) -> Tensor:
        """Draws n codes, `[n, *sites, dim]`, with exact zeros; slabs are `temperature` as wide."""
        like = self._like(n)
        gates = torch.empty_like(like).bernoulli_(self.activity, generator=generator)
        slabs = torch.empty_like(like).normal_(generator=generator)
        return gates * (temperature * self.scale) * slabs
