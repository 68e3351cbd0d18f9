"""Sparse codes over a learned dictionary as a latent."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from narrows.bottlenecks.base import Bottleneck
from narrows.bottlenecks.sparse_codes import SparseCode
from narrows.functional.ranks import draw_over_ranks, least_over_ranks, sum_over_ranks
from narrows.functional.straight_through import straight_through
from narrows.latent import Code, Latent
from narrows.sparse.products import combine, correlations_at

if TYPE_CHECKING:
    from narrows.priors.base import Prior

_DECAY = 0.99
# An atom is dead when the data passed it over this many times more often than if all atoms
# were used equally.
_PATIENCE = 1000.0
_OVERCOUNTS = (
    "{}(refit=False) counts what alike atoms have in common once for each; behind a "
    "straight-through gradient features can then grow without bound. Pass refit=True, or "
    "gradient='implicit'"
)


class SparseDictionary(Bottleneck):
    r"""Codes features as a few atoms of a learned dictionary: z = mu + s sum_j a_j d_j.

    .. math:: \tilde x = (x - \mu) / s, \qquad a = \mathrm{code}(\tilde x, D),
        \qquad z = \mu + s\, a D, \qquad |d_j| = 1

    The running centre mu and scale s of the features, and atoms of norm 1, fix what a sparse
    penalty leaves free: without them a larger feature or atom undoes any penalty, which is why
    codes of unnormalised dictionaries fail to become sparse. Coefficients are in units of s.

    The code is `(atoms, values)`, each `[batch, *sites, width]` (no sites where
    `layout="image"`): atoms ascending, then padding, which is a value of exactly 0.

    Args:
        size: number of atoms K.
        dim: width of the features; with `layout="image"` the whole shape `(*sites, width)`
            that one code covers.
        code: which sparse code: `TopK(k)`, `BatchTopK(k)`, `OMP(k)` or `Lasso(...)`.
        layout: "position" codes each site by itself; "image" gives one code an example.
        gradient: "straight_through" passes the decoder's gradient to the features unchanged,
            and trains the dictionary to reconstruct the features; "implicit" differentiates
            the code exactly, to features and dictionary (task-driven dictionary).
        commitment: weight of the features' distance to their code.
        target_l0: mean number of active atoms that `update` steers to, for codes whose
            penalty can be steered.

    Raises:
        ValueError: if an argument is out of range, or k exceeds the number of atoms.
        TypeError: if the code cannot do what is asked of it.

    Warns:
        UserWarning: where correlations that are not refitted meet a straight-through gradient.

    Source:
        Mairal, Bach and Ponce 2012, "Task-Driven Dictionary Learning" (implicit gradients);
        van den Oord et al. 2017 (straight-through with commitment, here for sparse codes).

    Example:
        >>> from narrows.bottlenecks import SparseDictionary, TopK
        >>> bottleneck = SparseDictionary(size=32, dim=8, code=TopK(2))
        >>> atoms, values = bottleneck(torch.randn(4, 6, 6, 8)).code
        >>> values.shape
        torch.Size([4, 6, 6, 2])
    """

    centre: Tensor
    scale: Tensor
    level: Tensor
    idle: Tensor
    steps: Tensor

    def __init__(
        self,
        size: int,
        dim: int | Sequence[int],
        code: SparseCode,
        layout: Literal["position", "image"] = "position",
        gradient: Literal["straight_through", "implicit"] = "straight_through",
        commitment: float = 0.25,
        target_l0: float | None = None,
    ) -> None:
        shape = (dim,) if isinstance(dim, int) else tuple(dim)
        super().__init__(in_features=shape[-1], out_features=shape[-1])
        _check_choices(layout, shape, gradient, commitment)
        _check_code(code, target_l0)
        if code.overcounts and gradient == "straight_through":
            warnings.warn(_OVERCOUNTS.format(type(code).__name__), UserWarning, stacklevel=3)
        self.size = size
        self.shape = shape
        self.code = code
        self.code_width = code.width(size, math.prod(shape))
        self.per_site = layout == "position"
        self.whole_batch = code.whole_batch
        self.gradient = "exact" if gradient == "implicit" else "straight_through"
        self.commitment = float(commitment)
        self.target_l0 = target_l0
        length = math.prod(shape)
        self.dictionary = nn.Parameter(normalize(torch.randn(size, length), dim=1))
        self.register_buffer("centre", torch.zeros(length))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("level", torch.tensor(float(code.first_level)))
        # Signals coded since each atom was last used.
        self.register_buffer("idle", torch.zeros(size))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @property
    def weights(self) -> Mapping[str, float]:
        """Commitment, and with straight-through the dictionary's own loss."""
        if self.gradient == "exact":
            return {"commitment": self.commitment}
        return {"dictionary": 1.0, "commitment": self.commitment}

    @property
    def atoms(self) -> Tensor:
        """The unit-norm atoms `[K, dim]`; their gradient has no part along the atom."""
        return normalize(self.dictionary, dim=1)

    def forward(self, features: Tensor) -> Latent:
        """Codes features; see the class."""
        features = self._check(features)
        with torch.autocast(features.device.type, enabled=False):
            return self._forward(features)

    def _forward(self, features: Tensor) -> Latent:
        signals, atoms = self._signals(features), self.atoms.to(features.dtype)
        with torch.no_grad():
            chosen, values = self.code.encode(signals, atoms, self.level, self.training)
        if self.gradient == "exact":
            values = self.code.differentiate(signals, atoms, chosen, values, self.level)
        approximation = combine(chosen, values, atoms)
        z = self._place(approximation, features.shape)
        if self.gradient == "straight_through":
            z = straight_through(features, z.detach())
        code = tuple(part.detach().view(*self._code_shape(features)) for part in (chosen, values))
        return Latent(
            z=z,
            code=code,
            features=features.detach(),
            terms=self._terms(signals, approximation, features.shape[0]),
            stats=self._stats(signals, approximation, chosen, values),
        )

    def embed(self, code: Code) -> Tensor:
        """The decoder's input for atoms and values `[batch, *sites, width]`."""
        chosen, values = self._check_code_tensors(code)
        width = chosen.shape[-1]
        with torch.autocast(values.device.type, enabled=False):
            atoms = self.atoms.to(values.dtype)
            approximation = combine(chosen.reshape(-1, width), values.reshape(-1, width), atoms)
            shape = (*chosen.shape[:-1], *self.shape)
            return self._place(approximation, torch.Size(shape))

    def default_prior(self, sites: tuple[int, ...]) -> "Prior":
        """Factorial: which atoms are active, and a discretised Laplace for each value."""
        from narrows.priors.sparse import SparseFactorial

        l0 = self.target_l0 or getattr(self.code, "k", None) or self.code_width / 2
        return SparseFactorial(sites if self.per_site else (), size=self.size, l0=float(l0))

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

    def _place(self, approximation: Tensor, shape: torch.Size) -> Tensor:
        """Undoes `_signals`."""
        dtype = approximation.dtype
        return (approximation * self.scale.to(dtype) + self.centre.to(dtype)).view(shape)

    def _code_shape(self, features: Tensor) -> tuple[int, ...]:
        sites = features.shape[1:-1] if self.per_site else ()
        return (features.shape[0], *sites, self.code_width)

    def _terms(self, signals: Tensor, approximation: Tensor, batch: int) -> dict[str, Tensor]:
        """Squared distances in the features' own units, summed over sites and features.

        Not in units of the running scale, which lags behind: in those an encoder gains more by
        shrinking its features to nothing than by telling the decoder anything.
        """

        def distance(a: Tensor, b: Tensor) -> Tensor:
            squares = (a - b).square().sum(-1).view(batch, -1).sum(-1)
            return self.scale.to(squares.dtype).square() * squares

        if batch == 0:
            return {name: signals.new_zeros(0) for name in self.weights}
        if self.gradient == "exact":
            return {"commitment": distance(signals, approximation)}
        return {
            "dictionary": distance(signals.detach(), approximation),
            "commitment": distance(signals, approximation.detach()),
        }

    def _stats(
        self, signals: Tensor, approximation: Tensor, chosen: Tensor, values: Tensor
    ) -> dict[str, Tensor]:
        active = (values.detach() != 0).flatten().to(signals.dtype)
        return {
            "atom_counts": active.new_zeros(self.size).index_add(0, chosen.flatten(), active),
            "l0_sum": active.sum(),
            "coded_sites": active.new_full((), signals.shape[0]),
            "residual_sum": (signals - approximation).detach().square().sum(),
            "energy_sum": signals.detach().square().sum(),
        }

    def _check_code_tensors(self, code: Code) -> tuple[Tensor, Tensor]:
        if not isinstance(code, tuple) or len(code) != 2 or code[0].shape != code[1].shape:
            raise ValueError(
                "SparseDictionary: expected a code (atoms, values) of two tensors of the same "
                "shape [batch, *sites, width]"
            )
        chosen, values = code
        if chosen.is_floating_point() or not values.is_floating_point():
            raise ValueError(
                f"SparseDictionary: expected integer atoms and floating values, got "
                f"{chosen.dtype} and {values.dtype}"
            )
        if (
            not torch.compiler.is_compiling()
            and chosen.numel()
            and not 0 <= int(chosen.min()) <= int(chosen.max()) < self.size
        ):
            raise ValueError(
                f"SparseDictionary: expected atoms in 0..{self.size - 1}, got "
                f"{int(chosen.min())}..{int(chosen.max())}; was the code made by another "
                "bottleneck?"
            )
        return chosen, values

    def summary(self, totals: Mapping[str, Tensor], examples: int) -> dict[str, float]:
        """Mean active atoms a site, share and number of atoms used, and fit of the features."""
        del examples
        sites = max(float(totals["coded_sites"]), 1.0)
        unused = int((totals["atom_counts"] == 0).sum())
        energy = max(float(totals["energy_sum"]), torch.finfo(torch.float64).tiny)
        return {
            "l0": float(totals["l0_sum"]) / sites,
            "atoms_used": 1 - unused / self.size,
            "dead_atoms": float(unused),
            "feature_nmse": float(totals["residual_sum"]) / energy,
        }

    def advice(self, summary: Mapping[str, float]) -> list[str]:
        """What to try where atoms lie idle, or the code is not sparse or not on target."""
        lines = []
        if summary["atoms_used"] < 0.5:
            lines.append(
                f"only {summary['atoms_used']:.0%} of {self.size} atoms are used: call update() "
                "every step (it revives dead atoms), use fewer atoms, or lower the learning rate"
            )
        if summary["l0"] > self.size / 4:
            lines.append(
                f"{summary['l0']:.1f} of {self.size} atoms are active: this code is not sparse; "
                "lower k or raise the penalty"
            )
        target = self.target_l0
        if target is not None and abs(summary["l0"] - target) > 0.05 * target:
            lines.append(
                f"L0 is {summary['l0']:.2f} for a target of {target:g}: train longer, so that "
                "the controller can settle"
            )
        return lines

    @torch.no_grad()
    def update(self, latents: Sequence[Latent]) -> None:
        """Running centre and scale, level, unit norms, revival of dead atoms."""
        latents = [latent for latent in latents if latent.features.numel()]
        some = torch.tensor(float(len(latents)), device=self.centre.device)
        if float(sum_over_ranks(some)) == 0:  # so that all ranks go the same way
            return
        first = int(self.steps) == 0
        flat = [latent.features.reshape(-1, self.centre.numel()) for latent in latents]
        counts = self._follow_codes(latents)  # before centre and scale leave those of the codes
        self._follow_features(flat, first)
        dead = self.idle > _PATIENCE * self.size / max(counts, 1e-6)
        if first:  # start from data rather than from noise
            dead = torch.ones_like(dead)
        else:
            self.dictionary.copy_(self.atoms)
        self._revive(dead, flat, residuals=None if first else latents)
        self.steps += 1

    def _follow_features(self, flat: list[Tensor], first: bool) -> None:
        """Moves centre and scale towards those of the step."""
        length = self.centre.numel()
        sums = self.centre.new_zeros(2 * length + 1, dtype=torch.float64)
        for part in flat:
            wide = part.double()
            sums[:length] += wide.sum(0)
            sums[length:-1] += wide.square().sum(0)
            sums[-1] += len(wide)
        sum_over_ranks(sums)
        mean = sums[:length] / sums[-1]
        variance = (sums[length:-1] / sums[-1] - mean.square()).clamp_min(0).mean()
        if float(variance) == 0:  # constant features have no scale to follow
            variance = self.scale.double().square()
        rate = 1.0 if first else 1 - _DECAY
        self.centre.lerp_(mean.to(self.centre.dtype), rate)
        squared = self.scale.double().square().lerp(variance, rate)
        self.scale.copy_(squared.sqrt())

    def _follow_codes(self, latents: list[Latent]) -> float:
        """Counts idle signals of each atom and moves the level; returns the mean L0."""
        counts = self.idle.new_zeros(self.size, dtype=torch.float64)
        sums = self.idle.new_zeros(2, dtype=torch.float64)
        least: list[Tensor] = []  # smallest correlation that each batch kept
        for latent in latents:
            counts += latent.stats["atom_counts"].double()
            sums[0] += latent.stats["l0_sum"].double()
            sums[1] += latent.stats["coded_sites"].double()
            if self.code.by_threshold and float(latent.stats["l0_sum"]) > 0:
                least.append(self._smallest_correlation(latent).double())
        sum_over_ranks(counts)
        sum_over_ranks(sums)
        self.idle.add_(sums[1].to(self.idle.dtype)).mul_((counts == 0).to(self.idle.dtype))
        l0 = sums[0] / sums[1]
        smallest = torch.stack(least).mean() if least else sums.new_tensor(math.inf)
        smallest = least_over_ranks(smallest)
        smallest = torch.where(smallest.isinf(), self.level.double(), smallest)
        self.level.copy_(self.code.next_level(self.level.double(), l0, smallest, self.target_l0))
        return float(l0)

    def _smallest_correlation(self, latent: Latent) -> Tensor:
        atoms, values = (part.flatten(0, -2) for part in cast(tuple[Tensor, Tensor], latent.code))
        signals = self._signals(latent.features.to(values.dtype))
        kept = correlations_at(atoms, signals, self.atoms.to(values.dtype)).abs()
        return kept[values != 0].min()

    def _revive(self, dead: Tensor, flat: list[Tensor], residuals: list[Latent] | None) -> None:
        """Replaces dead atoms by directions in the data that the code leaves unexplained."""
        if not bool(dead.any()):
            return
        pool = torch.cat(flat) if flat else self.centre.new_zeros(0, self.centre.numel())
        pool = (pool - self.centre) / self.scale
        if residuals:
            codes = [cast(tuple[Tensor, Tensor], latent.code) for latent in residuals]
            pairs = zip(
                *((p.reshape(-1, p.shape[-1]) for p in code) for code in codes), strict=True
            )
            chosen, values = (torch.cat(list(part)) for part in pairs)
            pool = pool - combine(chosen, values.to(pool.dtype), self.atoms)
        # Seeded by the step alone: the same on every rank and after a resumed run.
        generator = torch.Generator().manual_seed(1 + int(self.steps))
        fresh = draw_over_ranks(pool, int(dead.sum()), generator, repeat=False)
        spots = dead.nonzero()[: len(fresh), 0]
        usable = fresh.norm(dim=1) > 1e-6
        self.dictionary[spots[usable]] = normalize(fresh[usable], dim=1)
        self.idle[spots[usable]] = 0


def _check_choices(layout: str, shape: tuple[int, ...], gradient: str, commitment: float) -> None:
    if layout not in ("position", "image"):
        raise ValueError(f"expected layout 'position' or 'image', got {layout!r}")
    if layout == "position" and len(shape) != 1:
        raise ValueError(
            f"layout='position' codes each site alone: expected one width as dim, got {shape}; "
            "pass layout='image' for one code over all sites"
        )
    if gradient not in ("straight_through", "implicit"):
        raise ValueError(f"expected gradient 'straight_through' or 'implicit', got {gradient!r}")
    if not commitment >= 0:
        raise ValueError(f"expected commitment >= 0, got {commitment}")


def _check_code(code: SparseCode, target_l0: float | None) -> None:
    if not isinstance(code, SparseCode):
        raise TypeError(
            f"expected a sparse code such as TopK(4), got {type(code).__name__}; see "
            "narrows.bottlenecks.sparse_codes"
        )
    if target_l0 is not None and not code.controllable:
        raise TypeError(
            f"target_l0 steers a penalty, and {type(code).__name__} has none: its k fixes L0; "
            "drop target_l0 or use Lasso(...)"
        )
    if target_l0 is not None and not target_l0 > 0:
        raise ValueError(f"expected target_l0 > 0, got {target_l0}")
