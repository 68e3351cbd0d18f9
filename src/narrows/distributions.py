"""The distributions of variational codes, and divergences between them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Cauchy as TorchCauchy
from torch.distributions import Distribution, constraints
from torch.distributions import Laplace as TorchLaplace
from torch.distributions import Normal as TorchNormal
from torch.nn import functional as F

from narrows.recorded import Recorded


def normal_normal(location: Tensor, scale: Tensor, *, prior_scale: float) -> Tensor:
    """KL(N(m, s^2) || N(0, S^2)) = (m^2 + s^2) / 2 S^2 - 1/2 - log(s / S).

    Source: Kingma & Welling (2014), appendix B, for S = 1.
    """
    m, s = (location, scale) if prior_scale == 1 else (location / prior_scale, scale / prior_scale)
    return torch.add(-0.5 - s.log(), torch.addcmul(m * m, s, s), alpha=0.5)


def laplace_laplace(location: Tensor, scale: Tensor, *, prior_scale: float) -> Tensor:
    """KL(Laplace(m, b) || Laplace(0, B)) = log(B/b) + |m|/B + (b/B) exp(-|m|/b) - 1.

    Source: integral of the densities.
    """
    distance, b = location.abs() / prior_scale, scale / prior_scale
    return distance + b * torch.exp(-distance / b) - 1 - b.log()


def normal_laplace(location: Tensor, scale: Tensor, *, prior_scale: float) -> Tensor:
    """KL(N(m, s^2) || Laplace(0, B)) = E|z|/B + log(2B/s) - log(2 pi e)/2.

    E|z| = s sqrt(2/pi) exp(-m^2/2s^2) + m erf(m / s sqrt 2), the mean of the folded normal.
    """
    m, s = location / prior_scale, scale / prior_scale
    ratio = m / s
    absolute = s * math.sqrt(2 / math.pi) * torch.exp(-0.5 * ratio.square())
    absolute = absolute + m * torch.erf(ratio * math.sqrt(0.5))
    return absolute - s.log() + (math.log(2) - 0.5 * math.log(2 * math.pi * math.e))


def laplace_normal(location: Tensor, scale: Tensor, *, prior_scale: float) -> Tensor:
    """KL(Laplace(m, b) || N(0, S^2)) = (m^2 + 2 b^2)/2 S^2 + log(S sqrt(2 pi) / 2b) - 1."""
    m, b = location / prior_scale, scale / prior_scale
    constant = 0.5 * math.log(2 * math.pi) - math.log(2) - 1
    return 0.5 * m.square() + b.square() - b.log() + constant


def cauchy_cauchy(location: Tensor, scale: Tensor, *, prior_scale: float) -> Tensor:
    """KL(Cauchy(m, s) || Cauchy(0, S)) = log(1 + ((s - S)^2 + m^2) / 4 s S).

    Source: Chyzak & Nielsen (2019), arXiv:1905.10965, whose ((s + S)^2 + m^2) / 4 s S is
    rewritten so that small divergences keep their digits.
    """
    return torch.log1p(
        ((scale - prior_scale).square() + location.square()) / (4 * prior_scale * scale)
    )


Closed = Mapping[type[Distribution], Callable[..., Tensor]]
"""Closed forms of KL(q || p) by the type of q: functions (location, scale, *, prior_scale)."""


class Family(Recorded, ABC):
    """A location-scale family, symmetric about its location: z = location + scale * noise.

    As a prior it stands at location 0 with the given scale; as a posterior the scale is the
    width that features of zero have.

    Args:
        scale: the scale of the member at location 0; positive.

    Attributes:
        moments: E |z|^k is finite for every k below this.
        growth: -log p(z) grows as |z|^growth; 0 where it grows as log |z|.
        closed: closed forms of KL(q || this at location 0), by the type of q, as functions of
            q's location and scale and of `prior_scale`, this family's scale.

    Raises:
        ValueError: if the scale is not positive and finite.
    """

    moments: float = math.inf
    growth: ClassVar[float]
    closed: ClassVar[Closed] = {}

    def __init__(self, scale: float = 1.0) -> None:
        if not (0 < scale < math.inf):
            raise ValueError(f"{type(self).__name__}: scale must be positive, got {scale}")
        self.scale: float = float(scale)

    @abstractmethod
    def at(self, location: Tensor, scale: Tensor) -> Distribution:
        """The member at the given location and scale, elementwise, `[...]`."""

    @abstractmethod
    def noise(self, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draws of the member at location 0 and scale 1, with the shape of `like`."""

    @property
    def heavy_tailed(self) -> bool:
        """Whether squared error under samples may have an infinite mean: logarithmic growth."""
        return self.growth == 0

    def standard(self, like: Tensor) -> Distribution:
        """The member at location 0 with this family's own scale, elementwise as `like`."""
        return self.at(torch.zeros_like(like), torch.full_like(like, self.scale))

    def divergence(self, posterior: Distribution) -> Tensor:
        """KL(posterior || this at location 0), elementwise, in nats per dimension.

        Raises:
            ValueError: if narrows knows no closed form.
        """
        form = self.closed.get(type(posterior))
        if form is None:
            known = ", ".join(kind.__name__ for kind in self.closed) or "none"
            raise ValueError(
                f"no closed form of KL({type(posterior).__name__} || {self!r}) is known (known "
                f"posteriors: {known}); use kl='monte_carlo'"
            )
        return form(posterior.loc, posterior.scale, prior_scale=self.scale)  # type: ignore[attr-defined]


class Normal(Family):
    """Normal, log p(z) = -z^2 / 2 s^2 - log s - log(2 pi) / 2."""

    growth: ClassVar[float] = 2.0
    closed: ClassVar[Closed] = {
        TorchNormal: normal_normal,
        TorchLaplace: laplace_normal,
    }

    def at(self, location: Tensor, scale: Tensor) -> Distribution:
        """The normal of mean `location` and standard deviation `scale`."""
        return TorchNormal(location, scale, validate_args=False)

    def noise(self, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Standard normal draws."""
        return torch.empty_like(like).normal_(generator=generator)


class Laplace(Family):
    """Laplace, log p(z) = -|z| / s - log 2s: a peak at 0 and exponential tails.

    Samples are never exactly 0; `narrows.bottlenecks.SpikeAndSlab` gives exact zeros.
    """

    growth: ClassVar[float] = 1.0
    closed: ClassVar[Closed] = {
        TorchNormal: normal_laplace,
        TorchLaplace: laplace_laplace,
    }

    def at(self, location: Tensor, scale: Tensor) -> Distribution:
        """The Laplace distribution of mean `location` and mean deviation `scale`."""
        return TorchLaplace(location, scale, validate_args=False)

    def noise(self, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Standard Laplace draws: -sign(u) log(1 - |u|), the quantiles at (1 + u) / 2."""
        u = _symmetric_uniform(like, generator)
        return torch.copysign(torch.log1p(-u.abs()), u)


class Cauchy(Family):
    """Cauchy, p(z) = s / pi (s^2 + z^2): no mean, no variance.

    Heavy-tailed rather than sparse: at equal interquartile range P(|z| < 0.1) is below the
    Laplace's.
    """

    moments: float = 1.0
    growth: ClassVar[float] = 0.0
    closed: ClassVar[Closed] = {TorchCauchy: cauchy_cauchy}

    def at(self, location: Tensor, scale: Tensor) -> Distribution:
        """The Cauchy distribution of median `location` and half width `scale`."""
        return TorchCauchy(location, scale, validate_args=False)

    def noise(self, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Standard Cauchy draws: tan(pi u / 2), the quantiles at (1 + u) / 2."""
        return _symmetric_uniform(like, generator).mul_(0.5 * math.pi).tan_()


class Student(Family):
    """Student-t with `df` degrees of freedom: between the Cauchy (1) and the normal (inf).

    Args:
        df: degrees of freedom; positive. E |z|^k is finite for k < df.
        scale: the scale of the member at location 0 (not its standard deviation); positive.

    Raises:
        ValueError: if either is not positive and finite.
    """

    growth: ClassVar[float] = 0.0

    def __init__(self, df: float = 3.0, scale: float = 1.0) -> None:
        super().__init__(scale)
        if not (0 < df < math.inf):
            raise ValueError(f"Student: df must be positive and finite, got {df}; use Normal()")
        self.df: float = float(df)
        self.moments: float = self.df

    def at(self, location: Tensor, scale: Tensor) -> Distribution:
        """The Student-t distribution of median `location` and scale `scale`."""
        return StudentT(self.df, location, scale=scale)

    def noise(self, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Standard Student-t draws: a normal over the root of a chi-square per degree."""
        half = torch.full_like(like, 0.5 * self.df)
        chi_square = 2 * torch._standard_gamma(half, generator=generator)
        return torch.empty_like(like).normal_(generator=generator) * (self.df / chi_square).sqrt()


class StudentT(Distribution):
    """Student-t of fixed `df`; torch's own validates inside, which stops export and is slow."""

    arg_constraints = {  # noqa: RUF012  # pyright: ignore[reportAssignmentType]
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support = constraints.real  # pyright: ignore[reportAssignmentType]
    has_rsample = True

    def __init__(self, df: float, loc: Tensor, *, scale: Tensor) -> None:
        super().__init__(loc.shape, validate_args=False)
        self.df = df
        self.loc = loc
        self.scale = scale

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Reparameterised draws, `[*sample_shape, *batch_shape]`."""
        like = self.loc.detach().expand(*sample_shape, *self.loc.shape)
        return self.loc + self.scale * Student(self.df).noise(like)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density, elementwise."""
        half = 0.5 * (self.df + 1)
        constant = (
            math.lgamma(half) - math.lgamma(0.5 * self.df) - 0.5 * math.log(self.df * math.pi)
        )
        standard = (value - self.loc) / self.scale
        return constant - self.scale.log() - half * torch.log1p(standard.square() / self.df)


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

    def __init__(self, logits: Tensor, loc: Tensor, *, scale: Tensor) -> None:
        super().__init__(loc.shape, validate_args=False)
        self.logits: Tensor = logits
        self.loc: Tensor = loc
        self.scale: Tensor = scale

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


def _symmetric_uniform(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Uniform draws from (-1, 1), never 0 and never an end.

    Quantiles of these take a fraction of the time of torch's own exponential and Cauchy draws,
    which do not use the processor's wide registers. The half step makes the grid symmetric.
    """
    half_step = 0.5 * torch.finfo(like.dtype).eps
    return torch.empty_like(like).uniform_(generator=generator).mul_(2).sub_(1 - half_step)


def divergence_is_finite(posterior: Family, prior: Family) -> bool:
    """Whether KL(q || p) is finite for every member q of `posterior`.

    It is infinite where E_q[-log p(z)] is: q has no moment of the order at which -log p grows
    (a Cauchy posterior under a normal or Laplace prior).
    """
    return prior.growth == 0 or prior.growth < posterior.moments
