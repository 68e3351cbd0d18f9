"""K code vectors, and how they follow the features that they stand for."""

import math
from dataclasses import KW_ONLY, dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from narrows.functional.kmeans import kmeans, kmeans_plus_plus
from narrows.functional.ranks import draw_over_ranks, sum_over_ranks
from narrows.recorded import Recorded

_ROWS_PER_CODE = 64  # k-means gains nothing from more


@dataclass(frozen=True)
class CodebookLearning(Recorded):
    """How a codebook starts, follows the features, and revives unused codewords.

    Args:
        method: "ema" (moving averages) or "gradient" (the codewords are parameters).
        init: where the codewords start: "data" draws them from the features of the first update,
            "kmeans" clusters those, "uniform" leaves them in +-1/K.
        decay: of the moving averages.
        revive_after: number of updates in a row that a codeword may go unused before it is put
            on a random feature; None never revives.
        warmup: number of updates during which training passes the features through unquantised,
            so that the codewords start on features that have settled.
        entropy_constraint: lambda of the choice argmin_k ||x - c_k||^2 + lambda v (-log p_k), v
            being the variance of a feature: larger for fewer bits; None takes the nearest.

    Raises:
        ValueError: if an argument is out of its range.

    Source: of the entropy constraint, Chou, Lookabaugh & Gray (1989).

    Example:
        >>> from narrows.bottlenecks import CodebookLearning, VectorQuantizer
        >>> learning = CodebookLearning(init="kmeans", warmup=100)
        >>> quantizer = VectorQuantizer(512, 64, learning=learning)
    """

    method: Literal["ema", "gradient"] = "ema"
    init: Literal["data", "kmeans", "uniform"] = "data"
    _: KW_ONLY
    decay: float = 0.99
    revive_after: int | None = 20
    warmup: int = 0
    entropy_constraint: float | None = None

    def __post_init__(self) -> None:
        revival = self.revive_after is None or self.revive_after >= 1
        starts = ("data", "kmeans", "uniform")
        check_arguments(
            self,
            method=(self.method, self.method in ("ema", "gradient"), "ema or gradient"),
            init=(self.init, self.init in starts, "data, kmeans or uniform"),
            decay=(self.decay, 0 <= self.decay < 1, "in [0, 1)"),
            revive_after=(self.revive_after, revival, "at least 1, or None"),
            warmup=(self.warmup, self.warmup >= 0, "at least 0"),
            entropy_constraint=(
                self.entropy_constraint,
                self.entropy_constraint is None or 0 < self.entropy_constraint < math.inf,
                "above 0, or None",
            ),
        )


class Codebook(nn.Module):
    """The vectors of a vector quantiser with their running state; the state lives in buffers.

    With moving averages (van den Oord et al. 2017, appendix A.1), after each step,

        N_k <- g N_k + (1 - g) n_k,   S_k <- g S_k + (1 - g) sum of the x coded as k,
        c_k = S_k / N_k.

    A code that nothing uses keeps its place: N_k and S_k shrink together, and no smoothing
    of N_k pulls the quotient to the origin. Nothing here happens in a forward pass.

    Args:
        size: number K of codes.
        dim: their width.
        learning: how they start and follow.
        unit: whether features and codes are compared on the unit sphere.
        seed: of the draws for init and revival; the caller's generator is never touched.
    """

    vectors: Tensor
    counts: Tensor
    sums: Tensor
    idle: Tensor
    updates: Tensor

    def __init__(
        self, size: int, dim: int, *, learning: CodebookLearning, unit: bool, seed: int
    ) -> None:
        super().__init__()
        self.size: int = size
        self.learning: CodebookLearning = learning
        self.unit: bool = unit
        self.seed: int = seed
        vectors = _uniform(size, dim)
        if learning.method == "gradient":
            self.vectors = nn.Parameter(vectors)
        else:
            self.register_buffer("vectors", vectors)
            self.register_buffer("counts", torch.ones(size))
            self.register_buffer("sums", vectors.clone())
        self.register_buffer("idle", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def reset(self, seed: int) -> None:
        """Fresh vectors, and draws of their own from now on: for a copy beside the original."""
        self.seed = seed
        vectors = _uniform(self.size, self.vectors.shape[1])
        self._place(torch.arange(self.size), vectors, torch.ones(self.size))

    @property
    def codes(self) -> Tensor:
        """What features are compared with and replaced by, `[size, dim]`, float32 or better."""
        return F.normalize(self.vectors, dim=1) if self.unit else self.vectors

    def warmed(self, features: Tensor, value: Tensor) -> Tensor:
        """`value`; during warm-up, in which training does not quantise, the features."""
        if torch.compiler.is_compiling():  # graph capture cannot branch on data
            return torch.where(self.updates < self.learning.warmup, features, value)
        return features if bool(self.updates < self.learning.warmup) else value

    @torch.no_grad()
    def update(self, features: Tensor, index: Tensor) -> bool:
        """Learns from one step's features `[n, dim]` and the codes `[n]` they were given.

        Returns:
            Whether the codes were put on the data just now.

        """
        features = features.to(self.vectors.dtype)
        features = F.normalize(features, dim=1) if self.unit else features
        start = max(1, self.learning.warmup)
        given = self._adopt()
        if int(self.updates) < start and bool(given.any()):
            self.updates.fill_(start)
        self.updates += 1
        if int(self.updates) > start or (
            self.learning.init == "uniform" and self.learning.warmup == 0
        ):
            self._follow(features, index)
        elif int(self.updates) == start and self.learning.init != "uniform":
            return self._start(features)
        return False

    @torch.no_grad()
    def give(self, vectors: Tensor) -> None:
        """Puts the codewords at `vectors`, which neither `init` nor warm-up replaces."""
        if tuple(vectors.shape) != tuple(self.vectors.shape) or not bool(vectors.isfinite().all()):
            raise ValueError(
                f"expected finite codewords of shape {tuple(self.vectors.shape)}, got "
                f"{tuple(vectors.shape)}"
            )
        vectors = vectors.to(self.vectors)
        index = torch.arange(self.size, device=vectors.device)
        self._place(index, vectors, torch.ones_like(vectors[:, 0]))
        self.updates.clamp_(min=max(1, self.learning.warmup))

    def _adopt(self) -> Tensor:
        """Codewords, `[size]`, that were put elsewhere from outside: their sums follow them."""
        if self.learning.method != "ema":
            return torch.zeros_like(self.idle, dtype=torch.bool)
        means = self.vectors * self.counts.unsqueeze(1)
        one, two = self.sums, means
        if self.unit:
            one, two = F.normalize(one, dim=1), F.normalize(two, dim=1)
        off = (one - two).norm(dim=1) > 0.01 * (one.norm(dim=1) + two.norm(dim=1))
        self.sums.copy_(torch.where(off.unsqueeze(1), means, self.sums))
        return off

    def _generator(self) -> torch.Generator:
        """Fresh for each update: the state that a checkpoint must hold is `updates` alone."""
        mixed = (self.seed * 1_000_003 + int(self.updates)) % (1 << 63)
        return torch.Generator().manual_seed(mixed)

    def _start(self, features: Tensor) -> bool:
        """Puts the codes on the data."""
        generator = self._generator()
        vectors = draw_over_ranks(features, self.size, generator)
        if vectors.shape[0] == 0:
            self.updates -= 1  # nothing to start from: this update did not happen
            return False
        counts = torch.ones_like(vectors[:, 0])
        if self.learning.init == "kmeans":
            rows = draw_over_ranks(features, self.size * _ROWS_PER_CODE, generator, repeat=False)
            vectors, counts = kmeans(rows, kmeans_plus_plus(rows, self.size, generator))
        self._place(torch.arange(self.size, device=vectors.device), vectors, counts)
        return True

    def _follow(self, features: Tensor, index: Tensor) -> None:
        """One step of the moving averages, then revival."""
        totals = torch.zeros_like(self.vectors).index_add_(0, index, features)
        number = torch.zeros_like(self.vectors[:, 0])
        number.index_add_(0, index, torch.ones_like(features[:, 0]))
        totals = sum_over_ranks(torch.cat([totals, number.unsqueeze(1)], 1))
        totals, number = totals[:, :-1], totals[:, -1]
        if self.learning.method == "ema":
            self.counts.lerp_(number, 1 - self.learning.decay)
            self.sums.lerp_(totals, 1 - self.learning.decay)
            mean = self.sums / self.counts.unsqueeze(1)
            mean = F.normalize(mean, dim=1) if self.unit else mean
            self.vectors.copy_(torch.where((number > 0).unsqueeze(1), mean, self.vectors))
        self.idle.add_(1).masked_fill_(number > 0, 0)
        if self.learning.revive_after is not None:
            self._revive((self.idle >= self.learning.revive_after).nonzero().flatten(), features)

    def _revive(self, dead: Tensor, features: Tensor) -> None:
        if dead.numel() == 0:
            return
        rows = draw_over_ranks(features, dead.numel(), self._generator())
        if rows.shape[0]:
            self._place(dead, rows, torch.ones_like(rows[:, 0]))

    def _place(self, index: Tensor, vectors: Tensor, counts: Tensor) -> None:
        """Sets codes together with all their running state, so that none remembers the old."""
        self.vectors.data[index] = F.normalize(vectors, dim=1) if self.unit else vectors
        self.idle[index] = 0
        if self.learning.method == "ema":
            self.counts[index] = counts
            self.sums[index] = vectors * counts.unsqueeze(1)


def check_arguments(owner: object, **arguments: tuple[object, bool, str]) -> None:
    """Refuses the first argument that is out of range: (value, whether it is fine, the range)."""
    for name, (value, fine, wanted) in arguments.items():
        if not fine:
            raise ValueError(f"{type(owner).__name__}: expected {name} {wanted}, got {value!r}")


def _uniform(size: int, dim: int) -> Tensor:
    """Small vectors to begin with, as in the first VQ-VAE."""
    return torch.empty(size, dim).uniform_(-1 / size, 1 / size)
