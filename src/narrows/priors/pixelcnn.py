"""Gated PixelCNN over maps of discrete codes, sampled with cached rows."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from narrows.codes import Code, one_tensor
from narrows.functional.conditionals import (
    Conditionals,
    Walk,
    follow,
    from_logits,
    marginal,
    over_known,
    sampler,
)
from narrows.functional.fixed_point import FLOATING, Arithmetic, freeze
from narrows.priors.base import AutoregressiveIndices


class GatedLayer(nn.Module):
    """One layer of both stacks: tanh(a) * sigmoid(b), the horizontal one residual.

    The vertical stack at (r, c) has seen rows above r only (its input is shifted down by one
    row), the horizontal one the same row left of c (shifted right by one column); each layer
    then may look at its own position, and the horizontal stack reads the vertical one. So there
    is no blind spot, unlike with one masked convolution.
    """

    def __init__(self, width: int, kernel: int, classes: int | None) -> None:
        super().__init__()
        self.rows: int = kernel // 2 + 1
        self.columns: int = kernel
        self.vertical: nn.Conv2d = nn.Conv2d(width, 2 * width, (self.rows, kernel))
        self.horizontal: nn.Conv2d = nn.Conv2d(width, 2 * width, (1, self.rows))
        self.link: nn.Linear = nn.Linear(2 * width, 2 * width)
        self.out: nn.Linear = nn.Linear(width, width)
        self.condition: nn.Embedding | None = nn.Embedding(classes, 2 * width) if classes else None
        self.arithmetic: Arithmetic = FLOATING

    def down(self, above: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Vertical stack: `[n, width, rows - 1 + H, W]` -> gated `[n, width, H, W]` and link."""
        side = self.columns // 2
        mixed = self.arithmetic.round(self.vertical(F.pad(above, (side, side))))
        link = self.arithmetic.round(self.link(mixed.movedim(1, -1))).movedim(-1, 1)
        return self._gate(mixed + bias), link

    def across(self, left: Tensor, here: Tensor, link: Tensor, bias: Tensor) -> Tensor:
        """Horizontal stack: `[n, width, H, rows - 1 + W]` and its residual `[n, width, H, W]`."""
        mixed = self.arithmetic.round(self.horizontal(left))
        step = self.out(self._gate(mixed + link + bias).movedim(1, -1)).movedim(-1, 1)
        return self.arithmetic.round(here + step)

    def bias(self, label: Tensor | None) -> Tensor:
        """What the class adds before the gates, `[n, 2 width, 1, 1]` (or 0)."""
        if self.condition is None or label is None:
            return torch.zeros((), dtype=self.vertical.weight.dtype, device=self.out.weight.device)
        return self.arithmetic.round(self.condition(label))[..., None, None]

    def _gate(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=1)
        return self.arithmetic.round(self.arithmetic.tanh(a) * self.arithmetic.sigmoid(b))


class _Fed:
    """A layer that is fed row by row and site by site, and remembers the last of both."""

    def __init__(self, layer: GatedLayer, first: Tensor, label: Tensor | None) -> None:
        self.layer, self.bias = layer, layer.bias(label)
        n, wide, _, columns = first.shape
        self.above = first.new_zeros(n, wide, layer.rows - 1, columns)
        self.left = self.link = first

    def row(self, row: Tensor) -> Tensor:
        """The vertical stack's next row `[n, width, 1, W]`, given that of the layer below."""
        seen = torch.cat([self.above, row], dim=2)
        self.above = seen[:, :, 1:]
        row, self.link = self.layer.down(seen, self.bias)
        self.left = row.new_zeros(*row.shape[:2], 1, self.layer.rows - 1)
        return row

    def site(self, here: Tensor, column: int) -> Tensor:
        """The horizontal stack's next site `[n, width, 1, 1]`, given that of the layer below."""
        seen = torch.cat([self.left, here], dim=3)
        self.left = seen[..., 1:]
        return self.layer.across(seen, here, self.link[..., column : column + 1], self.bias)


class PixelCNN(AutoregressiveIndices):
    """p(code) = prod over sites, in raster order, of p(code[r, c] | rows above, codes to the left).

    Several codes at a site (stages of a residual quantiser) are further factors: channel j at a
    site also knows channels before j there. With classes, p(code) = mean over classes of
    p(code | class), which `rate` uses, as it is given no label.

    Sampling is exact (see `narrows.functional.fixed_point`): one site at a time with cached
    activations gives, bit for bit, what evaluating the whole map for every site gives.

    Args:
        sites: (height, width) of the map.
        size: number of codes K, or the number of each channel; codes are integers in 0..K-1.
        channels: codes at each site for code `[batch, H, W, channels]`; None: `[batch, H, W]`.
        hidden: width of the network.
        layers: gated layers; each lets a site see kernel // 2 further.
        kernel: odd width of the vertical stack's kernels.
        classes: number of classes to condition on; None: unconditional.

    Raises:
        ValueError: if the sites are not a map, or a number is out of range.

    Source: van den Oord et al. 2016, Conditional Image Generation with PixelCNN Decoders,
    arXiv:1606.05328, eq. 2-4 and figure 2. We shift the input instead of masking the first
    kernel, and put no residual connection into the vertical stack, as in their figure.

    Example:
        >>> prior = PixelCNN(sites=(4, 4), size=8, hidden=16, layers=2)
        >>> prior.sample(3, torch.Generator().manual_seed(0)).shape
        torch.Size([3, 4, 4])
    """

    site_axes: ClassVar[int | None] = 2
    learning_rate: ClassVar[float | None] = 2e-3

    def __init__(
        self,
        sites: tuple[int, ...],
        size: int | Sequence[int],
        *,
        channels: int | None = None,
        hidden: int = 64,
        layers: int = 5,
        kernel: int = 5,
        classes: int | None = None,
    ) -> None:
        super().__init__(sites, size, channels=channels)
        if len(self.sites) != self.site_axes:
            raise ValueError(
                f"PixelCNN: expected a map of sites (height, width), got {self.sites}; use "
                "AutoregressiveTransformer for sequences and single codes"
            )
        if kernel < 3 or kernel % 2 == 0 or min(layers, hidden) < 1:
            raise ValueError(
                "PixelCNN: expected an odd kernel of at least 3, layers and hidden of at least 1, "
                f"got kernel={kernel}, layers={layers}, hidden={hidden}"
            )
        self.classes, size = classes, self.size
        self.embedding: nn.Parameter = nn.Parameter(
            torch.randn(self.per_site, size, hidden) * hidden**-0.5
        )
        self.layers: nn.ModuleList = nn.ModuleList(
            GatedLayer(hidden, kernel, classes) for _ in range(layers)
        )
        self.read: nn.Linear = nn.Linear(hidden, 2 * hidden)
        # Stage j's logits know the stages before it at the same site through their own embedding.
        self.stage: nn.Parameter = nn.Parameter(torch.zeros(self.per_site - 1, size, 2 * hidden))
        self.logits_of: nn.ModuleList = nn.ModuleList(
            nn.Linear(2 * hidden, size) for _ in range(self.per_site)
        )
        self.arithmetic: Arithmetic = FLOATING

    @property
    def stack(self) -> list[GatedLayer]:
        """The gated layers, first to last."""
        return [layer for layer in self.layers if isinstance(layer, GatedLayer)]

    def logits(self, code: Tensor, label: Tensor | None = None) -> Tensor:
        """Logits of every code given those before it, `[n, H, W, K]` or `[n, H, W, channels, K]`.

        Args:
            code: `[n, H, W]` or `[n, H, W, channels]`, integers.
            label: `[n]` classes if conditional.
        """
        flat = self._flat(code)
        out = self._stages(self._features(self._embed(flat), label), flat)
        return out if self.channels else out[..., 0, :]

    def loss(self, code: Code, label: Tensor | None = None, /) -> Tensor:
        """-log p(code | label), `[n]` in nats; without labels the rate."""
        return -self.log_prob(one_tensor(code), label)

    def log_prob(self, code: Tensor, label: Tensor | None = None) -> Tensor:
        """Log-probability given the label, `[n]` in nats; without one, of the classes' mean."""
        if self.classes and label is None:
            each = [
                self.log_prob(code, torch.full((code.shape[0],), k, device=code.device))
                for k in range(self.classes)
            ]
            return torch.stack(each).logsumexp(0) - math.log(self.classes)
        logits = self.logits(code, label).float()
        nats = F.cross_entropy(logits.flatten(0, -2), code.long().flatten(), reduction="none")
        return -nats.view(code.shape[0], math.prod(code.shape[1:])).sum(1)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        label: Tensor | None = None,
    ) -> Code:
        """Draws n codes, `[n, H, W]` or `[n, H, W, channels]`, int64.

        Args:
            n: number of codes.
            generator: source of randomness.
            temperature: weights of codes are raised to the power of 1 / temperature.
            top_k: draw among the k likeliest codes only.
            label: `[n]` classes; drawn uniformly where the prior is conditional and none given.
        """
        if self.classes and label is None:
            device = "cpu" if generator is None else generator.device
            label = torch.randint(self.classes, (n,), generator=generator, device=device)
        label = None if label is None else label.to(self.embedding.device)
        walk = self.conditionals(n, label=label)
        return follow(walk, sampler(generator, temperature, top_k))

    @torch.no_grad()
    def conditionals(
        self, n: int, code: Code | None = None, *, label: Tensor | None = None
    ) -> Conditionals:
        """Walks over n maps site by site.

        Args:
            n: number of maps.
            code: the maps if they are known; all their logits are then found at once.
            label: `[n]` classes if conditional; without them the walk is over all classes at
                once, at the cost of as many networks (see `conditionals.marginal`).
        """
        if self.classes and label is None:
            every = torch.arange(self.classes, device=self.embedding.device).repeat(n)
            repeated = None if code is None else self._flat(code).repeat_interleave(self.classes, 0)
            walk = self._walk(len(every), repeated, every)
            return (yield from marginal(walk, self.classes))
        return (yield from self._walk(n, None if code is None else self._flat(code), label))

    def _walk(self, n: int, flat: Tensor | None, label: Tensor | None) -> Walk[Tensor]:
        exact = freeze(self)
        if flat is None:
            return (yield from exact._fresh(n, label))
        logits = exact._stages(exact._features(exact._embed(flat), label), flat)
        code = flat if self.channels else flat[..., 0]
        return (yield from over_known(logits.flatten(1, 3), flat.flatten(1), code))

    def _fresh(self, n: int, label: Tensor | None) -> Walk[Tensor]:
        """Row by row: the vertical stack once a row from its own last rows, the horizontal one a
        site at a time from its last columns. Memory is that of a few rows.
        """
        height, width = self.sites
        row = self.embedding.new_zeros(n, self.embedding.shape[-1], 1, width)
        layers = [_Fed(layer, row, label) for layer in self.stack]
        maps = []
        for _ in range(height):
            for layer in layers:
                row = layer.row(row)
            here, done = row.new_zeros(n, row.shape[1], 1, 1), []
            for column in range(width):
                for layer in layers:
                    here = layer.site(here, column)
                codes = yield from self._at_site(self._read(here[:, :, 0, 0]))
                here = self._embed(codes[:, None, None])
                done.append(here)
                maps.append(codes)
            row = torch.cat(done, dim=-1)
        return torch.stack(maps, dim=1).view(n, *self.codes.shape(self.sites))

    def _embed(self, flat: Tensor) -> Tensor:
        """Sum of the channels' embeddings, `[n, width, H, W]`."""
        total = torch.stack([self.embedding[j][flat[..., j]] for j in range(self.per_site)]).sum(0)
        return self.arithmetic.round(total).movedim(-1, 1)

    def _features(self, embedded: Tensor, label: Tensor | None) -> Tensor:
        """Both stacks over the whole map, `[n, H, W, 2 width]`, which see only what came before."""
        v = F.pad(embedded, (0, 0, 1, 0))[:, :, :-1]
        h = F.pad(embedded, (1, 0))[..., :-1]
        for layer in self.stack:
            bias = layer.bias(label)
            past = layer.rows - 1
            v, link = layer.down(F.pad(v, (0, 0, past, 0)), bias)
            h = layer.across(F.pad(h, (past, 0)), h, link, bias)
        return self._read(h.movedim(1, -1))

    def _read(self, h: Tensor) -> Tensor:
        return self.arithmetic.round(self.read(F.relu(h)))

    def _stages(self, features: Tensor, flat: Tensor) -> Tensor:
        out = []
        for j in range(self.per_site):
            out.append(self._scores(features, j))
            if j + 1 < self.per_site:
                features = self.arithmetic.round(features + self.stage[j][flat[..., j]])
        return torch.stack(out, dim=-2)

    def _scores(self, features: Tensor, channel: int) -> Tensor:
        """Logits of one channel's codes; -inf where the channel has fewer."""
        scores = self.arithmetic.round(self.logits_of[channel](F.relu(features)))
        return scores.masked_fill(~self.possible[channel], -math.inf)

    def _flat(self, code: Code) -> Tensor:
        index = self.codes.check(code, self.sites).long()
        return index if self.channels else index[..., None]

    def _at_site(self, features: Tensor) -> Walk[Tensor]:
        """Walks over the channels at one site; returns `[n, channels]`."""
        codes = []
        for j in range(self.per_site):
            code = yield from_logits(self._scores(features, j))
            codes.append(code)
            if j + 1 < self.per_site:
                features = self.arithmetic.round(features + self.stage[j][code])
        return torch.stack(codes, dim=1)
