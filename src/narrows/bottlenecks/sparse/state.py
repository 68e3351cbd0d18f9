"""What a sparse dictionary keeps and updates: atoms, centre, scale, level, use of atoms."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from narrows.bottlenecks.base import Bottleneck
from narrows.bottlenecks.sparse.coder import Coder, Learned, Problem, Usage
from narrows.bottlenecks.sparse.constraint import AtomConstraint
from narrows.codes import apply, atoms_of
from narrows.functional.ranks import (
    draw_over_ranks,
    gather_over_ranks,
    least_over_ranks,
    sum_over_ranks,
)
from narrows.latent import Latent
from narrows.sparse.products import combine

_DECAY = 0.99
# An atom is dead when the data passed it over this many times more often than if all atoms
# were used equally.
_PATIENCE = 1000.0
_LONG = 100.0  # the same until losses for dead atoms begin
# Examples that a running threshold remembers: with fewer it is noise, with more it lags behind.
_MEMORY = 300.0
_ENOUGH = 30_000  # signals that the last thresholds are taken from
_BELOW = 1 - 1e-5  # of a kept value, so that rounding does not decide whether it is kept again
_GIVEN = -1.0  # in place of an atom's idle time, until the next update


class UnitDictionary(Bottleneck):
    """The part of a `SparseDictionary` that lasts from step to step, apart from how it codes.

    State: the dictionary, whose atoms count as normalised; the features' running centre and
    scale; the level of the coder; how long each atom has lain idle; the number of updates.

    Args:
        size: number of atoms K.
        shape: of what one code covers: `(width,)`, or `(*sites, width)`.
        coder: what finds the codes.
        target_l0: what the level is steered to; None for nothing.
    """

    centre: Tensor
    scale: Tensor
    level: Tensor
    idle: Tensor
    steps: Tensor

    def __init__(
        self, size: int, shape: tuple[int, ...], coder: Coder, target_l0: float | None
    ) -> None:
        super().__init__(in_features=shape[-1], out_features=shape[-1])
        length = math.prod(shape)
        self.size = size
        self.shape = shape
        self.coder = coder
        self.code_width: int = coder.width(size, length)
        self.target_l0 = target_l0
        self.constraint: AtomConstraint | None = None
        self.dictionary: nn.Parameter = nn.Parameter(normalize(torch.randn(size, length), dim=1))
        self.learned: Learned | None = coder.learned(size, length, l0=self.expected_l0)
        self._renew(torch.arange(size))
        self.register_buffer("centre", torch.zeros(length))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("level", torch.tensor(float(coder.first_level)))
        # Signals coded since each atom was last used, or _GIVEN.
        self.register_buffer("idle", torch.zeros(size))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @property
    def atoms(self) -> Tensor:
        """The unit-norm atoms `[K, dim]`; their gradient has no part along the atom."""
        return normalize(self.dictionary, dim=1)

    @property
    def expected_l0(self) -> float:
        """How many atoms of a code should be active."""
        return float(self.target_l0 or self.coder.l0 or self.code_width / 2)

    @property
    def dead(self) -> Tensor:
        """Which atoms have lain idle for long, though not for so long that they are replaced."""
        return self.idle > _LONG * self.size / self.expected_l0

    @torch.no_grad()
    def set_atoms(self, atoms: Tensor) -> None:
        """Puts the dictionary at directions of your own, where learning goes on from.

        The first update, which otherwise starts the dictionary from data, leaves them.

        Args:
            atoms: `[K, dim]`, of any norm except 0; they apply to features less their centre.

        Raises:
            ValueError: if the shape differs, or an atom is 0 or not finite.
        """
        lengths = atoms.double().norm(dim=-1)
        shape = tuple(self.dictionary.shape)
        if tuple(atoms.shape) != shape or not bool((lengths.isfinite() & (lengths > 0)).all()):
            raise ValueError(
                f"expected finite atoms of shape {shape}, none of them 0, got {tuple(atoms.shape)}"
            )
        self.dictionary.copy_(atoms.double() / lengths.unsqueeze(1))
        self.idle.fill_(_GIVEN)
        self._renew(torch.arange(self.size, device=self.dictionary.device))

    @torch.no_grad()
    def _renew(self, spots: Tensor, _signals: Tensor | None = None) -> None:
        """Has what the coder learns follow new atoms, made of these signals."""
        if self.learned is not None and len(spots):
            self.learned.renew(spots, self.atoms[spots])

    def _signals(self, features: Tensor) -> Tensor:
        """Centred and scaled signals, one a row."""
        if not self.per_site and tuple(features.shape[1:]) != self.shape:
            raise ValueError(
                f"SparseDictionary(sites={self.shape[:-1]}) was built for features of shape "
                f"(batch, {', '.join(map(str, self.shape))}), got {tuple(features.shape)}; build "
                "it with the sites of your encoder's output"
            )
        flat = features.reshape(-1, math.prod(self.shape))
        return (flat - self.centre.to(flat.dtype)) / self.scale.to(flat.dtype)

    def _place(self, approximation: Tensor) -> Tensor:
        """Undoes `_signals`, for approximations of the features' shape."""
        centre = self.centre.to(approximation.dtype).view(self.shape)
        return torch.addcmul(centre, approximation, self.scale.to(approximation.dtype))

    def _in_units(self, values: Tensor) -> Tensor:
        """Values of a code in units of the scale."""
        return values if self.constraint is None else self.constraint.place(values)

    @torch.no_grad()
    def update(self, latents: Sequence[Latent]) -> None:
        """Running centre and scale, level, unit norms, revival of dead atoms."""
        latents = [latent for latent in latents if latent.features.numel()]
        number = sum(len(latent.features) for latent in latents)
        examples = float(sum_over_ranks(torch.tensor(float(number), device=self.centre.device)))
        if examples == 0:  # on all ranks, so that they go the same way
            return
        first = int(self.steps) == 0
        counts, signals, l0 = uses_over_ranks(latents, self.idle)
        given = self.idle == _GIVEN
        self.idle.clamp_(min=0).add_(signals.to(self.idle.dtype)).mul_(
            (counts == 0).to(self.idle.dtype)
        )
        if self.constraint is not None:
            self.constraint.update([atoms_of(latent.code) for latent in latents])
        if not (first and self.coder.by_threshold):  # the first atoms are about to be replaced
            rate = max(examples / (examples + _MEMORY), 1 / max(int(self.steps), 1))
            self._steer(latents, l0, rate)  # before centre and scale leave those of the codes
        before = self._unit.clone()
        self._follow([latent.features for latent in latents], 1.0 if first else 1 - _DECAY)
        if self.coder.by_threshold:  # a threshold for features of the new scale
            self.level.mul_(before / self._unit)
        if first:  # start from data rather than from noise
            self._replace(~given, latents, coded=False)
        else:
            self.dictionary.copy_(self.atoms)
            dead = self.idle > _PATIENCE * self.size / l0.clamp_min(1e-6)
            self._replace(dead, latents, coded=True)
        self.steps += 1

    @property
    def _unit(self) -> Tensor:
        """The scale of the signals."""
        return self.scale

    def _follow(self, features: Sequence[Tensor], rate: float) -> None:
        """Moves centre and scale towards those of a step's features."""
        rows = [part.reshape(-1, len(self.centre)) for part in features]
        move_scale(self.centre, self.scale, rows, rate)

    def _steer(self, latents: Sequence[Latent], l0: Tensor, rate: float) -> None:
        """Moves the level of the code."""
        level = self.level.double()
        smallest: list[Tensor] = []  # smallest correlation that each batch kept
        if self.coder.by_threshold:
            some = [latent for latent in latents if float(latent.stats["l0_sum"]) > 0]
            smallest = [self._smallest_kept(latent) for latent in some]
        least = smallest_over_ranks(smallest, level)
        self.level.copy_(self.coder.next_level(Usage(level, l0, least, self.target_l0, rate)))

    @torch.no_grad()
    def settle(self, latents: Iterable[Latent]) -> None:
        """Thresholds that keep as many of the training examples' atoms as are asked for.

        A running one lags behind features that still change: after 50 steps by some 10 % in L0. A
        penalty under control may not have had the steps to bring learned ones to a target L0.
        """
        if self.frozen:
            return
        if self.learned is not None and self.target_l0 is not None:
            self.learned.lift(self._height(latents, self.target_l0))
        if not self.coder.by_threshold:
            return
        before, found = self.training, list[tuple[int, Tensor]]()
        for latent in latents:
            coded = self.train()(latent.features)  # a batch keeps its largest
            self.train(before)
            if float(coded.stats["l0_sum"]) > 0:
                found.append((len(latent.features), self._smallest_kept(coded)))
        if found:
            weighted = torch.stack([number * smallest for number, smallest in found])
            level = weighted.sum() / sum(number for number, _ in found)
            self.level.copy_(_BELOW * level)  # of one batch it is a value itself

    def _height(self, latents: Iterable[Latent], target_l0: float) -> Tensor:
        """By how much thresholds must rise for the target L0 on the first training examples."""
        width, number = min(self.size, math.ceil(4 * target_l0)), 0
        found = [self.level.new_zeros(0)]
        for latent in latents:
            excess = self.coder.excess(self._problem(latent.features))
            if excess is None or number >= _ENOUGH:
                break
            found.append(excess.topk(width, dim=1).values.flatten().to(self.level.dtype))
            number += len(excess)
        every = gather_over_ranks(torch.cat(found))
        kept = round(len(every) / width * target_l0)
        if not 0 < kept < len(every):
            return self.level.new_zeros(())
        return every.topk(kept + 1).values[-2:].mean()  # between two, so that rounding decides none

    def _problem(self, features: Tensor) -> Problem:
        """What the coder is given for features."""
        signals = self._signals(features)
        atoms = self.atoms.to(signals.dtype)
        return Problem(signals, atoms, self.level, self.training, self.learned)

    def _smallest_kept(self, latent: Latent) -> Tensor:
        """The smallest correlation that an active atom of a batch has, by magnitude; scalar."""
        atoms, values = apply(lambda part: part.flatten(0, -2), atoms_of(latent.code))
        kept = self.coder.correlations(self._problem(latent.features), atoms).abs()
        return kept[values != 0].min().double()

    def _replace(self, which: Tensor, latents: Sequence[Latent], coded: bool) -> None:
        """Replaces atoms by directions in the data; if coded, that their codes left unexplained."""
        number = int(which.sum())
        if not number:
            return
        shape = (*self.shape[:-1], self.in_features)
        widths = [math.prod(shape), self.code_width, self.code_width]
        rows = [self.centre.new_zeros(0, sum(widths)), *map(coded_rows, latents)]
        # Seeded by the step alone: the same on every rank and after a resumed run.
        generator = torch.Generator().manual_seed(1 + int(self.steps))
        drawn = draw_over_ranks(torch.cat(rows), number, generator, repeat=False)
        features, chosen, values = drawn.split(widths, 1)
        problem = self._problem(features.unflatten(1, shape))
        fresh = problem.wanted
        if coded:
            values = self._in_units(values.to(fresh.dtype))
            fresh = fresh - combine(chosen.long(), values, dictionary=problem.dictionary)
        spots = which.nonzero()[: len(fresh), 0]
        usable = fresh.norm(dim=1) > 1e-6
        self.dictionary[spots[usable]] = normalize(fresh[usable], dim=1)
        self.idle[spots[usable]] = 0
        self._renew(spots[usable], problem.signals[: len(fresh)][usable])


def uses_over_ranks(latents: Sequence[Latent], idle: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Uses of each atom `[K]`, number of signals and the coder's mean L0, in double precision."""
    sums = idle.new_zeros(len(idle) + 2, dtype=torch.float64)
    for latent in latents:
        sums[:-2] += latent.stats["atom_counts"].double()
        sums[-2] += latent.stats.get("found_sum", latent.stats["l0_sum"]).double()
        sums[-1] += latent.stats["coded_sites"].double()
    sum_over_ranks(sums)
    return sums[:-2], sums[-1], sums[-2] / sums[-1]


def smallest_over_ranks(smallest: Sequence[Tensor], level: Tensor) -> Tensor:
    """Mean of a rank's scalars, the least of all ranks; `level` where no rank has any."""
    mean = torch.stack(list(smallest)).mean() if smallest else level.new_tensor(math.inf)
    mean = least_over_ranks(mean)
    return torch.where(mean.isinf(), level, mean)


def coded_rows(latent: Latent) -> Tensor:
    """Each signal's features, atoms and values side by side, `[n, dim + 2 width]`."""
    atoms, values = (part.flatten(0, -2) for part in atoms_of(latent.code))
    return torch.cat([latent.features.reshape(len(atoms), -1), atoms, values], 1)


def follow_scale(
    centre: Tensor, scale: Tensor, rows: Sequence[Tensor], rate: float
) -> tuple[Tensor, Tensor]:
    r"""Moves a centre and one scale for all coordinates towards those of a step's features.

    .. math:: \mu \leftarrow (1 - r)\,\mu + r\,\bar x, \qquad
        s^2 \leftarrow (1 - r)\,s^2 + r\,\overline{\mathrm{var}(x)}

    The variance is the mean over coordinates; features that are constant have none to follow,
    and leave s as it is. Sums of the rows `[n, dim]` run in double precision and over all ranks.

    Example:
        >>> rows = [torch.tensor([[1.0, 0.0], [3.0, 4.0]])]
        >>> follow_scale(torch.zeros(2), torch.ones(()), rows, rate=1.0)
        (tensor([2., 2.]), tensor(1.5811))
    """
    dim = len(centre)
    sums = centre.new_zeros(2 * dim + 1, dtype=torch.float64)
    for part in rows:
        wide = part.double()
        sums[:dim] += wide.sum(0)
        sums[dim:-1] += wide.square().sum(0)
        sums[-1] += len(wide)
    sum_over_ranks(sums)
    mean = sums[:dim] / sums[-1]
    variance = (sums[dim:-1] / sums[-1] - mean.square()).clamp_min(0).mean()
    variance = torch.where(variance == 0, scale.double().square(), variance)
    squared = scale.double().square().lerp(variance, rate)
    return centre.lerp(mean.to(centre.dtype), rate), squared.sqrt().to(scale.dtype)


def move_scale(centre: Tensor, scale: Tensor, rows: Sequence[Tensor], rate: float) -> None:
    """`follow_scale`, in place."""
    for kept, moved in zip((centre, scale), follow_scale(centre, scale, rows, rate), strict=True):
        kept.copy_(moved)
