"""Integers whose means and scales are told by a small code beside them."""

import math
from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from narrows.codes import Code, one_tensor
from narrows.functional.conditionals import Conditional, Conditionals
from narrows.functional.fixed_point import FLOATING, Arithmetic, freeze
from narrows.functional.usage import tally
from narrows.latent import Latent
from narrows.priors.base import IndexPrior
from narrows.priors.categorical import MovingHistogram

_SIDE = 31  # different integers of the side code
_CENTRE = (_SIDE - 1) / 2
_LEAST, _MOST = -3.0, 6.0  # of log s
_FLOOR = 1e-6  # share of the probability that is spread evenly


class MeanScaleHyperprior(IndexPrior):
    r"""p(y, w) = p(w) p(y | w): a side code w says where integers y lie, and how widely.

    .. math:: w = \mathrm{round}(h(y)), \qquad (m, \log s) = g(w), \qquad
        p(y_i | w) = \Phi\Big(\frac{y_i + 1/2 - m_i}{s_i}\Big)
                   - \Phi\Big(\frac{y_i - 1/2 - m_i}{s_i}\Big)

    h and g are small networks of convolutions, w has half the height and width of y, and its
    integers have a histogram for each channel that follows training. The side code is found from
    the integers themselves, so that the code of the bottleneck stays what it was: only files hold
    w, before y, and `rate` = -log p(w) - log p(y | w) counts it. The integers 0 and size - 1 take
    what lies beyond.

    Training prices the integer under noise, as `MovingHistogram` does; w is under noise, too. In
    files g is evaluated exactly (`narrows.functional.fixed_point`), so that every machine finds
    the same m and s.

    Args:
        sites: (height, width) of the map of integers.
        size: number of different integers.
        channels: integers of each site.
        side: channels of w.
        hidden: width of h and g.

    Raises:
        ValueError: if the sites are not a map, or a number is out of range.

    Source: Balle, Minnen, Singh, Hwang & Johnston (2018), "Variational image compression with a
        scale hyperprior"; the mean: Minnen, Balle & Toderici (2018), section 2. They find w from
        the features before rounding.

    Example:
        >>> import narrows as nw
        >>> prior = MeanScaleHyperprior((4, 4), size=255, channels=2, side=1, hidden=8)
        >>> prior.sample(3).shape
        torch.Size([3, 4, 4, 2])
    """

    site_axes: ClassVar[int | None] = 2
    learning_rate: ClassVar[float | None] = 2e-3
    redundant: ClassVar[bool] = True

    def __init__(
        self, sites: tuple[int, ...], size: int, *, channels: int, side: int = 2, hidden: int = 32
    ) -> None:
        super().__init__(sites, size, channels=channels)
        if len(self.sites) != self.site_axes or min(side, hidden) < 1:
            raise ValueError(
                "MeanScaleHyperprior: expected a map of sites (height, width), side and hidden of "
                f"at least 1, got {self.sites}, {side} and {hidden}; on other sites leave the "
                "hyperprior out"
            )
        self.middle: float = (size - 1) / 2
        coarse = tuple(-(-length // 2) for length in self.sites)
        self.side: MovingHistogram = MovingHistogram(coarse, _SIDE, channels=side)
        self.analysis: nn.Sequential = nn.Sequential(
            nn.Conv2d(channels, hidden, 3, padding=1), nn.GELU(),
            nn.Conv2d(hidden, hidden, 3, stride=2, padding=1), nn.GELU(),
            nn.Conv2d(hidden, side, 3, padding=1),
        )  # fmt: skip
        self.synthesis: Synthesis = Synthesis(side, hidden, channels=channels)

    def rate(self, latent: Latent) -> Tensor:
        """-log p(w) - log p(y | w), `[batch]` nats; for one draw of the noise in training.

        Raises:
            ValueError: if the code is not integers of this prior's shape and range.
        """
        if latent.posterior is not None:
            return self._under_noise(latent.posterior.rsample())
        place = self._real(self.codes.check(latent.code, self.sites))
        return self._nats(place, self._side(place).round())

    def loss(self, code: Code, _label: Tensor | None = None, /) -> Tensor:
        """The rate with the side code under noise, which has a gradient."""
        return self._under_noise(self._real(self.codes.check(code, self.sites)))

    @torch.no_grad()
    def conditionals(self, n: int, code: Code | None = None) -> Conditionals:
        """The side code, then the integers channel by channel."""
        index = None if code is None else self.codes.check(code, self.sites)
        known = None if index is None else self._side_of(index)
        side = one_tensor((yield from self.side.conditionals(n, known)))
        mean, log_scale = freeze(self.synthesis)(side.double() - _CENTRE, self.sites)
        cells = torch.arange(self.size, dtype=torch.float64, device=mean.device) - self.middle
        found = []
        for channel in range(mean.shape[-1]):
            own = (part[..., channel].reshape(-1, 1) for part in (mean, log_scale))
            weights = self._between(cells, *own)
            symbols = None if index is None else index[..., channel].flatten()
            found.append((yield Conditional(weights, len(weights), symbols)))
        return torch.stack(found, -1).view(n, *self.codes.shape(self.sites))

    @torch.no_grad()
    def update(self, latents: Sequence[Latent], /) -> None:
        """The side code's histogram follows one optimiser step."""
        self.side.update([self._told(latent) for latent in latents])

    @torch.no_grad()
    def fit(self, latents: Iterable[Latent]) -> Self:
        """Counts the side code of training codes; the networks learn by gradient."""
        self.side.fit(self._told(latent) for latent in latents)
        return self

    def _under_noise(self, place: Tensor) -> Tensor:
        side = self._side(place)
        return self._nats(place, side + torch.rand_like(side) - 0.5)

    def _nats(self, place: Tensor, side: Tensor) -> Tensor:
        mean, log_scale = self.synthesis(side - _CENTRE, self.sites)
        p = self._between(place - self.middle, mean, log_scale)
        nats = -self.side.log_density(side).flatten(1).sum(1)
        return nats - p.log().flatten(1).sum(1)

    def _told(self, latent: Latent) -> Latent:
        """The side code of a latent's integers, as a latent of its own."""
        side = self._side_of(one_tensor(latent.code).round().clamp(0, self.size - 1))
        offsets = _SIDE * torch.arange(side.shape[-1], device=side.device)
        counts = tally(side + offsets, _SIDE * side.shape[-1]).view(-1, _SIDE)
        return Latent(latent.z, side, latent.features, stats={"counts": counts})

    def _side_of(self, index: Tensor) -> Tensor:
        """w of integers `[n, H, W, channels]`, as indices `[n, h, w, side]`."""
        return self._side(self._real(index)).round().long()

    def _real(self, index: Tensor) -> Tensor:
        return index.to(self.synthesis.last.weight.dtype)

    def _side(self, place: Tensor) -> Tensor:
        """h(y) before rounding."""
        found = self.analysis((place - self.middle).movedim(-1, 1)).movedim(1, -1)
        return (found.to(place.dtype) + _CENTRE).clamp(0, _SIDE - 1)

    def _between(self, y: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
        """p(y | w) of integers about 0; the ends take what lies beyond."""
        scale = log_scale.exp()
        low = ((y - 0.5 - mean) / scale).masked_fill(y <= -self.middle, -torch.inf)
        high = ((y + 0.5 - mean) / scale).masked_fill(y >= self.middle, torch.inf)
        flip = low + high > 0  # the lower tail, where Phi is small and exact
        ends = torch.where(flip, -low, high), torch.where(flip, -high, low)
        mass = torch.special.ndtr(ends[0]) - torch.special.ndtr(ends[1])
        return (1 - _FLOOR) * mass + _FLOOR / self.size


class Synthesis(nn.Module):
    """g: means and log scales `[n, H, W, channels]` from a side code `[n, h, w, side]`."""

    def __init__(self, side: int, hidden: int, *, channels: int) -> None:
        super().__init__()
        self.first: nn.Conv2d = nn.Conv2d(side, hidden, 3, padding=1)
        self.second: nn.Conv2d = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.last: nn.Conv2d = nn.Conv2d(hidden, 2 * channels, 1)
        self.arithmetic: Arithmetic = FLOATING
        nn.init.zeros_(self.last.weight)
        # At first all integers are spread about as widely as those of a new encoder.
        start = torch.tensor([0.0, math.log(4.0)]).repeat_interleave(channels)
        self.last.bias = nn.Parameter(start)

    def forward(self, side: Tensor, sites: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Rounded to the grid of the arithmetic, as every sum on the way is."""
        exact = self.arithmetic
        x = exact.gelu(exact.round(self.first(side.movedim(-1, 1))))
        x = x.repeat_interleave(2, -1).repeat_interleave(2, -2)[..., : sites[0], : sites[1]]
        x = exact.gelu(exact.round(self.second(x)))
        mean, log_scale = exact.round(self.last(x)).movedim(1, -1).chunk(2, -1)
        return mean, log_scale.clamp(_LEAST, _MOST)
