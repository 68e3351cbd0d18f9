"""Independent indices: counted frequencies, ones that follow training, or all alike."""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Self

import torch
from torch import Tensor
from torch.distributions import Categorical
from torch.nn import functional as F

from narrows.codes import Code, Indices, length
from narrows.functional.conditionals import Conditional, Conditionals
from narrows.functional.ranks import sum_over_ranks
from narrows.latent import Latent
from narrows.priors.base import IndexPrior


class CategoricalPrior(IndexPrior):
    """Independent indices: uniform until `fit`, then as often as in the training codes.

    p(k) = (n_k + 1/2) / (n + K/2), so that an index not seen in training has a finite cost.
    Integer codes are `[batch, *sites]`, or `[batch, *sites, channels]` where each channel
    (a stage of a residual quantiser, say) has a histogram of its own. With channels, an index of -1
    is one that was not sent: it costs nothing and is not counted.

    Args:
        sites: shape of the grid of sites.
        size: number K of different indices, or the number of each channel.
        channels: indices of each site, each with a histogram of its own.

    Raises:
        ValueError: if size or channels is less than 1.

    Source: Krichevsky and Trofimov 1981 (the 1/2 of the estimate).

    Example:
        >>> prior = CategoricalPrior((8, 8), size=512)
        >>> prior.sample(3).shape
        torch.Size([3, 8, 8])
    """

    counts: Tensor
    added: float = 0.5  # to each count

    def __init__(
        self, sites: tuple[int, ...], size: int | Sequence[int], *, channels: int | None = None
    ) -> None:
        super().__init__(sites, size, channels=channels)
        self.register_buffer("counts", torch.zeros(channels or 1, self.size, dtype=torch.float64))

    @property
    def codes(self) -> Indices:
        """Indices below `size`; with channels, -1 for one that was not sent."""
        return dataclasses.replace(super().codes, partial=self.channels is not None)

    @property
    def log_probs(self) -> Tensor:
        """log p of every index in nats, `[channels or 1, size]`, float64; -inf where none is."""
        smoothed = (self.counts + self.added) * self.possible
        return smoothed.log() - smoothed.sum(1, keepdim=True).log()

    def rate(self, latent: Latent) -> Tensor:
        """-sum over sites of log p(index), nats per example, `[batch]`.

        Raises:
            ValueError: if the code is not integers of this prior's shape and range.
        """
        code = self._checked(latent.code)
        # One table with a place for what was not sent, read by one number: a gather on two axes
        # takes as long as a small search.
        table = F.pad(-self.log_probs, (1, 0))
        groups = torch.arange(len(table), device=code.device) * table.shape[1]
        cost = table.flatten().index_select(0, (code + (groups + 1)).flatten())
        return cost.view(code.shape).flatten(1).sum(1).to(latent.z.dtype)

    def conditionals(self, n: int, code: Code | None = None) -> Conditionals:
        """Independent indices, one table for each channel."""
        weights = self._weights()
        rows = n * math.prod(self.sites)
        index = None if code is None else self._checked(code).reshape(rows, len(weights))
        found = torch.zeros(rows, len(weights), dtype=torch.long, device=weights.device)
        for channel, (table, size) in enumerate(zip(weights, self.codes.each, strict=True)):
            known = None if index is None else index[:, channel]
            found[:, channel] = yield Conditional(table[:size], rows, known)
        return found.view(n, *self.codes.shape(self.sites))

    def fit(self, latents: Iterable[Latent]) -> Self:
        """Counts the indices of the given latents, in place of what was counted before."""
        counts = torch.zeros_like(self.counts)
        for latent in latents:
            code = self._checked(latent.code).to(counts.device)
            for group in range(counts.shape[0]):
                index = code[..., group].flatten()
                counts[group] += torch.bincount(index[index >= 0], minlength=self.size)
        self.counts.copy_(counts)
        return self

    def _weights(self) -> Tensor:
        """Whole numbers in proportion to n_k + 1/2."""
        return (2 * self.counts + 1).long()

    def _checked(self, code: Code) -> Tensor:
        """The code as `[batch, *sites, channels or 1]`."""
        index = self.codes.check(code, self.sites)
        return index if self.channels is not None else index.unsqueeze(-1)


class MovingHistogram(CategoricalPrior):
    """Independent indices whose frequencies follow training, so that the loss knows their rate.

    After each optimiser step n_k <- g n_k + (number of indices k in the step), and
    p(k) = (n_k + 1/K) / (N + 1), N being the sum of all n_k. `fit` counts anew, once.

    The index of an integer under noise (`Rounded` in training) has the posterior q, uniform on
    [t - 1/2, t + 1/2]. Its rate is KL(q || p), estimated by one draw: -log p(t + u), with

        p(s) = (1 - f) p(k) + f p(k + 1),   k = floor(s), f = s - k:

    the density of t + u where t is spread evenly within the cell of each index. It integrates
    to 1 and equals p(k) at integers. Its gradient draws t to the more frequent of two neighbours.

    That of a categorical posterior is KL(q || p) itself, sum_k q_k (log q_k - log p_k).

    Args:
        sites: shape of the grid of sites.
        size: number K of different indices, or the number of each channel.
        channels: indices of each site, each with a histogram of its own.
        decay: g.

    Raises:
        ValueError: if size or channels is less than 1, or decay is not in [0, 1).

    Source: Balle, Laparra & Simoncelli (2017), "End-to-end optimized image compression", section
        3.1 (the noise and its density, piecewise linear there too). There the density is learned
        by gradient; moving counts are exact at once and need no learning rate.

    Example:
        >>> import narrows as nw
        >>> prior = nw.Rounded(dim=4).default_prior((2, 2))
        >>> type(prior).__name__, prior.sample(3).shape
        ('MovingHistogram', torch.Size([3, 2, 2, 4]))
    """

    def __init__(
        self,
        sites: tuple[int, ...],
        size: int | Sequence[int],
        *,
        channels: int | None = None,
        decay: float = 0.98,
    ) -> None:
        super().__init__(sites, size, channels=channels)
        if not 0 <= decay < 1:
            raise ValueError(f"MovingHistogram: decay must be in [0, 1), got {decay}")
        self.decay = decay
        self.added = 1 / self.size

    def rate(self, latent: Latent) -> Tensor:
        """-log p(code), `[batch]` in nats, or KL(q || p) where the code has a posterior.

        Raises:
            ValueError: if the code is not integers of this prior's shape and range.
        """
        if latent.posterior is None:
            return super().rate(latent)
        if isinstance(latent.posterior, Categorical):
            q, log_p = latent.posterior, self.log_probs.to(latent.z.dtype)
            return (q.probs * (q.logits - log_p)).flatten(1).sum(1)
        return -self.log_density(latent.posterior.rsample()).flatten(1).sum(1)

    @torch.no_grad()
    def update(self, latents: Sequence[Latent], /) -> None:
        """Follows the indices of one optimiser step, which `Latent.stats["counts"]` tells."""
        if not latents:
            return
        counts = torch.stack([latent.stats["counts"] for latent in latents]).sum(0)
        counts = sum_over_ranks(counts.to(self.counts).view_as(self.counts))
        self.counts.mul_(self.decay).add_(counts)

    def log_density(self, place: Tensor) -> Tensor:
        """Log p(s) at real places s `[batch, *sites, channels]`, in nats."""
        p = self.log_probs.exp().to(place.dtype).flatten()
        low = place.detach().floor().clamp(0, self.size - 2)
        first = low.long() + self.size * torch.arange(len(self.counts), device=place.device)
        return torch.lerp(p[first], p[first + 1], (place - low).clamp(0, 1)).log()

    def _weights(self) -> Tensor:
        # Elementwise, so that every machine finds the same whole numbers.
        return ((self.counts + self.added) * 2.0**20).round().clamp(min=1).long()


class UniformCategorical(IndexPrior):
    """p(code) = K^-(number of indices of a code).

    rate = KL(q || p) = sum over sites and channels of log K - H(q), in nats, where the code is
    random; without a posterior, log K for every index.

    Args:
        sites: shape of the grid of sites.
        size: number K of different indices.
        channels: indices of each site.

    Example:
        >>> UniformCategorical((2,), size=10, channels=3).sample(4).shape
        torch.Size([4, 2, 3])
    """

    anchor: Tensor

    def __init__(self, sites: tuple[int, ...], size: int, *, channels: int | None = None) -> None:
        super().__init__(sites, size, channels=channels)
        self.register_constant("anchor", lambda: torch.zeros(()))  # knows the device

    @property
    def largest_rate(self) -> float:
        """Nats per example of a code known for certain."""
        return math.prod(self.codes.shape(self.sites)) * math.log(self.size)

    def rate(self, latent: Latent) -> Tensor:
        """KL(q || p), `[batch]` in nats.

        Raises:
            ValueError: if the latent's posterior is not categorical, or its code not discrete.
        """
        posterior = latent.posterior
        if isinstance(posterior, Categorical):
            entropy = -(posterior.probs * posterior.logits).sum(-1)
            return self.largest_rate - entropy.flatten(1).sum(1)
        if posterior is None and latent.has_rate:
            return self.log_prob(latent.code).neg()
        raise ValueError(
            "UniformCategorical: expected a categorical posterior or an integer code, got "
            f"{type(posterior or latent.code).__name__}; use the bottleneck's default_prior"
        )

    def log_prob(self, code: Code) -> Tensor:
        """Log p(code) for codes `[batch, *sites, channels]`, `[batch]` in nats."""
        return self.anchor.expand(length(code)) - self.largest_rate

    def conditionals(self, n: int, code: Code | None = None) -> Conditionals:
        """log2 K bits for each index."""
        shape = (n, *self.codes.shape(self.sites))
        known = None if code is None else self.codes.check(code, self.sites).flatten()
        symbols = yield Conditional(self.anchor.new_ones(self.size), math.prod(shape), known)
        return symbols.view(shape)
