"""A prior of exact zeros and normal values."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

from narrows.codes import Code, Values
from narrows.distributions import normal_normal
from narrows.latent import Latent
from narrows.priors.base import Prior


class SpikeSlab(Distribution):
    """q = g N(loc, scale^2) + (1 - g) delta_0, elementwise, with g = sigmoid(logits).

    `log_prob` is relative to Lebesgue measure plus a unit mass at 0: log(1 - g) at exactly 0,
    log g + log N elsewhere. Draws hold exact zeros and are not reparameterised.
    """

    arg_constraints = {  # noqa: RUF012  # pyright: ignore[reportAssignmentType]
        "logits": constraints.real,
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support = constraints.real  # pyright: ignore[reportAssignmentType]

    def __init__(self, logits: Tensor, loc: Tensor, scale: Tensor) -> None:
        super().__init__(loc.shape, validate_args=False)
        self.logits, self.loc, self.scale = logits, loc, scale

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Draws `[*sample_shape, *batch_shape]`."""
        shape = (*sample_shape, *self.loc.shape)
        gates = torch.bernoulli(self.logits.sigmoid().expand(shape))
        return gates * (self.loc + self.scale * torch.randn_like(self.loc.expand(shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density or mass, elementwise."""
        standard = (value - self.loc) / self.scale
        slab = -0.5 * standard.square() - self.scale.log() - 0.5 * math.log(2 * math.pi)
        on, off = F.logsigmoid(self.logits), F.logsigmoid(-self.logits)
        return torch.where(value == 0, off, on + slab)


class SpikeAndSlabPrior(Prior):
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

    space = Values
    prices_draws = True
    coding = "bits_back"
    anchor: Tensor

    def __init__(
        self, sites: tuple[int, ...], dim: int, *, activity: float = 0.2, scale: float = 1.0
    ) -> None:
        super().__init__(sites)
        if not 0 < activity < 1:
            raise ValueError(f"SpikeAndSlabPrior: activity must be in (0, 1), got {activity}")
        if not 0 < scale < math.inf:
            raise ValueError(f"SpikeAndSlabPrior: scale must be positive, got {scale}")
        self.dim, self.activity, self.scale = dim, activity, scale
        self.register_buffer("anchor", torch.zeros(()), persistent=False)  # knows the device

    @property
    def codes(self) -> Values:
        """Values, many of which are exactly 0."""
        return Values(self.dim, exact_zeros=True)

    def divergence(self, posterior: SpikeSlab) -> Tensor:
        """KL(q || p) of every dimension, nats."""
        on, off = F.logsigmoid(posterior.logits), F.logsigmoid(-posterior.logits)
        gate = posterior.logits.sigmoid()
        slab = normal_normal(posterior.loc, posterior.scale, self.scale)
        gates = gate * (on - math.log(self.activity))
        return gate * slab + gates + (1 - gate) * (off - math.log1p(-self.activity))

    def rate(self, latent: Latent) -> Tensor:
        """KL(q || p) summed over sites and dimensions, `[batch]` in nats.

        Raises:
            ValueError: if the posterior is not spike and slab.
        """
        if not isinstance(latent.posterior, SpikeSlab):
            raise ValueError(
                "SpikeAndSlabPrior: expected the latent of a SpikeAndSlab bottleneck, got the "
                f"posterior {type(latent.posterior).__name__}; use the bottleneck's default_prior"
            )
        return self.divergence(latent.posterior).flatten(1).sum(1)

    def standard(self, like: Tensor) -> SpikeSlab:
        """This prior as a distribution over tensors of the shape of `like`, elementwise."""
        zeros = torch.zeros_like(like)
        logit = math.log(self.activity) - math.log1p(-self.activity)
        return SpikeSlab(zeros + logit, zeros, zeros + self.scale)

    def log_prob(self, code: Tensor) -> Tensor:
        """Log p(code) of codes `[batch, *sites, dim]`, `[batch]` in nats."""
        return self.standard(code).log_prob(code).flatten(1).sum(1)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Code:
        """Draws n codes, `[n, *sites, dim]`, with exact zeros."""
        like = self.anchor.expand(n, *self.sites, self.dim).contiguous()
        gates = torch.empty_like(like).bernoulli_(self.activity, generator=generator)
        return gates * self.scale * torch.empty_like(like).normal_(generator=generator)
