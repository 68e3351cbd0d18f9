"""Bits for deterministic continuous codes: a grid and a histogram of each feature."""

import math
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Self

import torch
from torch import Tensor

from narrows.codes import Code, one_tensor
from narrows.functional.conditionals import Conditionals, within
from narrows.latent import Latent
from narrows.priors.base import NoRateError, ValuePrior

MOST_BINS = 8192  # per feature; what lies farther from the mean takes the escape
HELD = 2**24  # codes held back to learn their spread before counting starts


class QuantizedHistogram(ValuePrior):
    """p(index) per feature, index = round((code - centre) / step), shared by all sites;
    the centre is the feature's mean.

    rate = -sum over sites and features of log p(index). Inside the range of the training codes
    p = (1 - e - f) (count + 1/bins) / (N + 1); outside, at d = 1, 2, ... bins below or above it,
    p = e / d (d + 1) or f / d (d + 1), so that every value has a finite cost and the probabilities
    sum to 1. e = (below + 1/4) / (N + 1), below being the training codes that lie there; so f.

    `fit` must see training latents first; the code has no rate until the step is known.

    Args:
        sites: shape of the grid of sites.
        dim: width of the code.
        step: the grid's step, for all features; None chooses each feature's from the data.
        fraction: where `step` is None, the step as a fraction of each feature's standard
            deviation over the training codes. A quarter costs about 4 bits per feature.
        exact_zeros: the grid goes through 0 in place of the mean, so that exact zeros (of
            `SpikeAndSlab`) stay exact; being frequent they are cheap.

    Attributes:
        steps: the step of each feature, `[dim]`; empty until fitted.

    Example:
        >>> import torch
        >>> from narrows.bottlenecks import Identity
        >>> codes = Identity(2)(torch.randn(1000, 2))
        >>> prior = QuantizedHistogram((), 2, step=0.5).fit([codes])
        >>> prior.rate(codes).shape
        torch.Size([1000])
    """

    steps: Tensor
    centers: Tensor
    lows: Tensor
    log_bins: Tensor
    log_escapes: Tensor

    def __init__(
        self,
        sites: tuple[int, ...],
        dim: int,
        *,
        step: float | None = None,
        fraction: float = 0.25,
        exact_zeros: bool = False,
    ) -> None:
        super().__init__(sites, dim)
        if not all(
            0 < value < math.inf for value in (fraction, fraction if step is None else step)
        ):
            raise ValueError(
                f"QuantizedHistogram: step and fraction must be positive, got {step} and {fraction}"
            )
        self.step: float | None = step
        self.fraction: float = fraction
        self.exact_zeros: bool = exact_zeros
        for name in ("steps", "centers", "lows", "log_bins", "log_escapes"):
            self.register_buffer(name, torch.empty(0, dtype=torch.float64))

    def fit(self, latents: Iterable[Latent]) -> Self:
        """Settles the grid and counts, in one pass over training latents.

        Raises:
            ValueError: if there are no latents.
        """
        codes = (self.vectors(latent.code).detach().double().cpu() for latent in latents)
        held: list[Tensor] = []
        for part in codes:
            held.append(part)
            if sum(block.numel() for block in held) >= HELD:
                break
        if not sum(len(block) for block in held):
            raise ValueError("QuantizedHistogram: no training latents to fit; pass at least one")
        device = self.steps.device
        self.centers, self.steps = self._grid(torch.cat(held))
        self.lows, counts, outside = self._count(chain(held, codes))
        total, bins = counts.sum(1) + outside.sum(1), counts.shape[1]
        escapes = (outside + 0.25) / (total + 1)[:, None]
        inside = (counts + 1 / bins) / (counts.sum(1, keepdim=True) + 1)
        self.log_bins = inside.log() + torch.log1p(-escapes.sum(1, keepdim=True))
        self.log_escapes = escapes.log()
        return self.to(device)

    def rate(self, latent: Latent) -> Tensor:
        """-log p(quantised code), `[batch]` in nats.

        Raises:
            ValueError: until fitted, since an unquantised code carries infinitely many bits.
        """
        self._require_fit()
        log_prob = self._log_prob(self._index(self.vectors(latent.code)))
        return -log_prob.reshape(latent.batch, math.prod(self.sites) * self.dim).sum(1)

    def quantize(self, code: Code) -> Code:
        """Rounds the code to the grid; unchanged until `fit` has settled one."""
        if not self.steps.numel():
            return code
        vectors = self.vectors(code)
        rounded = (self._index(vectors) * self.steps + self.centers).to(vectors.dtype)
        return rounded.reshape(one_tensor(code).shape)

    def conditionals(self, n: int, code: Code | None = None) -> Conditionals:
        """Grid indices feature by feature; two symbols escape to a distance beyond the bins.

        Raises:
            NoRateError: until fitted.
        """
        self._require_fit()
        return self._walk(n, None if code is None else self._index(self.vectors(code)).long())

    def _walk(self, n: int, index: Tensor | None) -> Conditionals:
        rows = n * math.prod(self.sites)
        weights = torch.cat([self.log_bins.exp(), self.log_escapes.exp()], 1).cpu()
        columns = []
        for feature, low in enumerate(self.lows.long().tolist()):
            place = None if index is None else index[:, feature].cpu() - low
            columns.append(low + (yield from within(weights[feature], rows, place)))
        found = torch.stack(columns, 1).to(self.steps.device)
        values = (found * self.steps + self.centers).to(torch.get_default_dtype())
        return values.view(n, *self.sites, self.dim)

    def _require_fit(self) -> None:
        if not self.steps.numel():
            raise NoRateError(
                "QuantizedHistogram: a deterministic continuous code carries infinitely many bits "
                "until it is quantised with a stated step; call prior.fit(training latents) first"
            )

    def _grid(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Centre and step of each feature."""
        mean = codes.mean(0)
        center = torch.zeros_like(mean) if self.exact_zeros else mean
        if self.step is not None:
            return center, torch.full_like(mean, self.step)
        deviation = codes.std(0, correction=0)
        # A constant feature has one bin whatever its step; this one leads to its value exactly.
        constant = deviation <= 1e-7 * (1 + mean.abs())
        any_step = torch.where(mean == center, torch.ones_like(mean), (mean - center).abs())
        return center, torch.where(constant, any_step, self.fraction * deviation)

    def _index(self, vectors: Tensor) -> Tensor:
        return ((vectors.double() - self.centers) / self.steps).round()

    def _count(self, blocks: Iterator[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """The lowest index, counts `[dim, bins]`, and those below and above `[dim, 2]`."""
        counts = torch.zeros(self.dim, MOST_BINS, dtype=torch.float64)
        outside = torch.zeros(self.dim, 2, dtype=torch.float64)
        half = MOST_BINS // 2
        for block in blocks:
            index = self._index(block) + half
            inside = (index >= 0) & (index < MOST_BINS)
            place = index.clamp(0, MOST_BINS - 1).long()
            counts.scatter_add_(1, place.T, inside.double().T)
            outside += torch.stack([index < 0, index >= MOST_BINS], 2).sum(0)
        used = counts.sum(0).nonzero().flatten()  # one range for all features
        first, last = (int(used[0]), int(used[-1])) if len(used) else (half, half)
        lows = torch.full((self.dim,), float(first - half), dtype=torch.float64)
        return lows, counts[:, first : last + 1].clone(), outside

    def _log_prob(self, index: Tensor) -> Tensor:
        """Log p of grid indices `[n, dim]`; nats."""
        bins = self.log_bins.shape[1]
        place = index - self.lows
        beyond = torch.maximum(-place, place - (bins - 1)).clamp(min=1)
        side = torch.where(place < 0, self.log_escapes[:, 0], self.log_escapes[:, 1])
        escape = side - beyond.log() - beyond.log1p()
        inside = self.log_bins.gather(1, place.clamp(0, bins - 1).long().T).T
        return torch.where((place >= 0) & (place < bins), inside, escape)

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: object
    ) -> None:
        # The histogram's size comes from the data, so a fresh prior takes the stored one's.
        for name in self._buffers:
            stored = state_dict.get(prefix + name)
            if stored is not None:
                setattr(self, name, torch.empty_like(stored, device=getattr(self, name).device))
        super()._load_from_state_dict(state_dict, prefix, *args)
