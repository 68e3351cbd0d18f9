"""Unit-norm atoms over centred and scaled features, and how both follow the data."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from narrows.bottlenecks.base import Bottleneck
from narrows.bottlenecks.sparse_code import SparseCode
from narrows.bottlenecks.sparse_updates import (
    dead,
    draw_coded,
    smallest_kept,
    smallest_over_ranks,
    uses_over_ranks,
)
from narrows.functional.ranks import sum_over_ranks
from narrows.functional.running_scale import follow_scale
from narrows.latent import Latent
from narrows.sparse.products import combine

_DECAY = 0.99


class UnitDictionary(Bottleneck):
    """The part of a `SparseDictionary` that lasts from step to step, apart from how it codes.

    State: the dictionary, whose atoms count as normalised; the features' running centre and
    scale; the level of the code; how long each atom has lain idle; the number of updates; and
    what learns to guess the codes, where there is such a thing.

    Args:
        size: number of atoms K.
        shape: of what one code covers: `(width,)`, or `(*sites, width)`.
        code: the sparse code.
        target_l0: what the level is steered to; None for nothing.
    """

    centre: Tensor
    scale: Tensor
    level: Tensor
    idle: Tensor
    steps: Tensor

    def __init__(
        self, size: int, shape: tuple[int, ...], code: SparseCode, target_l0: float | None
    ) -> None:
        super().__init__(in_features=shape[-1], out_features=shape[-1])
        length = math.prod(shape)
        self.size = size
        self.shape = shape
        self.code = code
        self.code_width = code.width(size, length)
        self.target_l0 = target_l0
        self.dictionary = nn.Parameter(normalize(torch.randn(size, length), dim=1))
        self.starter = code.starter(size, length)
        self.register_buffer("centre", torch.zeros(length))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("level", torch.tensor(float(code.first_level)))
        # Signals coded since each atom was last used.
        self.register_buffer("idle", torch.zeros(size))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @property
    def atoms(self) -> Tensor:
        """The unit-norm atoms `[K, dim]`; their gradient has no part along the atom."""
        return normalize(self.dictionary, dim=1)

    def _signals(self, features: Tensor) -> Tensor:
        """Centred and scaled signals, one a row."""
        if not self.per_site and tuple(features.shape[1:]) != self.shape:
            raise ValueError(
                f"SparseDictionary: layout='image' was built for features of shape "
                f"(batch, {', '.join(map(str, self.shape))}), got {tuple(features.shape)}; build "
                "it with dim=(*sites, width) of your encoder's output"
            )
        flat = features.reshape(-1, math.prod(self.shape))
        return (flat - self.centre.to(flat.dtype)) / self.scale.to(flat.dtype)

    def _place(self, approximation: Tensor) -> Tensor:
        """Undoes `_signals`, for approximations of the features' shape."""
        centre = self.centre.to(approximation.dtype).view(self.shape)
        return torch.addcmul(centre, approximation, self.scale.to(approximation.dtype))

    @torch.no_grad()
    def update(self, latents: Sequence[Latent]) -> None:
        """Running centre and scale, level, unit norms, revival of dead atoms."""
        latents = [latent for latent in latents if latent.features.numel()]
        some = torch.tensor(float(len(latents)), device=self.centre.device)
        if float(sum_over_ranks(some)) == 0:  # so that all ranks go the same way
            return
        first = int(self.steps) == 0
        counts, signals, l0 = uses_over_ranks(latents, self.idle)
        self.idle.add_(signals.to(self.idle.dtype)).mul_((counts == 0).to(self.idle.dtype))
        self._steer(latents, l0)  # before centre and scale leave those of the codes
        rows = [latent.features.reshape(-1, len(self.centre)) for latent in latents]
        centre, scale = follow_scale(self.centre, self.scale, rows, 1.0 if first else 1 - _DECAY)
        self.centre.copy_(centre)
        self.scale.copy_(scale)
        if first:  # start from data rather than from noise
            self._replace(torch.ones_like(self.idle, dtype=torch.bool), latents, coded=False)
        else:
            self.dictionary.copy_(self.atoms)
            self._replace(dead(self.idle, l0), latents, coded=True)
        self.steps += 1

    def _steer(self, latents: Sequence[Latent], l0: Tensor) -> None:
        """Moves the level of the code."""
        level = self.level.double()
        smallest: list[Tensor] = []  # smallest correlation that each batch kept
        if self.code.by_threshold:
            some = [latent for latent in latents if float(latent.stats["l0_sum"]) > 0]
            smallest = [smallest_kept(latent, *self._problem(latent.features)) for latent in some]
        least = smallest_over_ranks(smallest, level)
        self.level.copy_(self.code.next_level(level, l0, least, self.target_l0))

    def _problem(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Signals, and atoms in their dtype."""
        signals = self._signals(features)
        return signals, self.atoms.to(signals.dtype)

    def _replace(self, which: Tensor, latents: Sequence[Latent], coded: bool) -> None:
        """Replaces atoms by directions in the data; if coded, that their codes left unexplained."""
        number = int(which.sum())
        if not number:
            return
        none = self.centre.new_zeros(0, len(self.centre))
        values = self.centre.new_zeros(0, self.code_width)
        # Seeded by the step alone: the same on every rank and after a resumed run.
        seed, like = 1 + int(self.steps), (none, values.long(), values)
        features, chosen, values = draw_coded(latents, number, seed, like)
        fresh = (features - self.centre) / self.scale
        if coded:
            fresh = fresh - combine(chosen, values.to(fresh.dtype), self.atoms)
        spots = which.nonzero()[: len(fresh), 0]
        usable = fresh.norm(dim=1) > 1e-6
        self.dictionary[spots[usable]] = normalize(fresh[usable], dim=1)
        self.idle[spots[usable]] = 0
        if self.starter is not None:
            self.starter.forget(spots[usable])
