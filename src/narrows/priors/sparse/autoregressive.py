"""A transformer over (atom, value) tokens of sparse codes."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from narrows.codes import Atoms, AtomValues, Code
from narrows.functional.conditionals import Conditionals, from_logits
from narrows.functional.fixed_point import FLOATING, Arithmetic, freeze
from narrows.latent import Latent
from narrows.networks.causal import CausalTransformer, KeyValueCache
from narrows.priors.sparse.rounded_atoms import RoundedAtoms
from narrows.sparse.solution import canonical

HEADS = 4


class SparseAutoregressive(RoundedAtoms):
    """Each site's code as tokens atom, value, atom, value, ..., end; atoms ascending.

    A list of k atoms in any order would pay log2 k! bits for the order. Sorted, each atom is
    drawn from those above the last one only: the others have probability 0. A site with
    k atoms needs no end token. Sites are independent given where they are.

    Args:
        sites: grid of sites; `()` for one code an example.
        size: number of atoms K.
        k: most active atoms at a site.
        step: quantisation step of values.
        levels: values are clamped to +-levels steps.
        hidden: width of the transformer, a multiple of 4 (its heads).
        depth: its blocks.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> prior = SparseAutoregressive((2,), size=6, k=3, step=0.5, hidden=16, depth=1)
        >>> atoms, values = prior.sample(4, torch.Generator().manual_seed(0))
        >>> atoms.shape
        torch.Size([4, 2, 3])
    """

    learning_rate: ClassVar[float | None] = 2e-3

    def __init__(
        self,
        sites: tuple[int, ...],
        size: int,
        *,
        k: int,
        step: float = 0.5,
        levels: int = 31,
        hidden: int = 64,
        depth: int = 2,
    ) -> None:
        super().__init__(sites, size, step=step, levels=levels)
        if not 1 <= k <= size:
            raise ValueError(f"SparseAutoregressive: expected 1 <= k <= size, got {k} and {size}")
        self.k = k
        vocabulary = size + 1 + 2 * levels  # atoms, end, values
        self.network: CausalTransformer = CausalTransformer(vocabulary, 2 * k, hidden, depth, HEADS)
        self.places: nn.Parameter = nn.Parameter(0.02 * torch.randn(math.prod(self.sites), hidden))
        self.atom_head: nn.Linear = nn.Linear(hidden, size + 1)
        self.value_head: nn.Linear = nn.Linear(hidden, 2 * levels)
        self.arithmetic: Arithmetic = FLOATING

    @property
    def codes(self) -> AtomValues:
        """Up to k of the `size` atoms with their values."""
        return AtomValues(self.size, self.k)

    def quantize(self, code: Code) -> Atoms:
        """Rounds and clamps values; those that become 0 leave, and the smallest beyond k."""
        atoms, values = super().quantize(code)
        if atoms.shape[-1] > self.k:
            largest = values.abs().sort(dim=-1, descending=True, stable=True).indices
            largest = largest[..., : self.k]
            atoms, values = canonical(atoms.gather(-1, largest), values.gather(-1, largest))
        missing = self.k - atoms.shape[-1]
        return Atoms(F.pad(atoms, (0, missing)), F.pad(values, (0, missing)))

    def rate(self, latent: Latent) -> Tensor:
        """-log p(code), `[batch]` in nats.

        Raises:
            ValueError: if the values are not multiples of the step (quantize the code first), or
                a site has more than k atoms.
        """
        atoms, q = self._rows(latent.code)
        atom_logits, value_logits = self._logits(atoms, q)
        active = q != 0
        ends = F.pad(active, (1, 0), value=True)[:, :-1] & ~active  # the first padding place
        target = torch.where(active, atoms, self.size)
        nats = _nats(atom_logits, target) * (active | ends)
        nats = nats + _nats(value_logits, self.to_symbols(q)) * active
        return nats.sum(1).view(latent.batch, math.prod(self.sites)).sum(1)

    @torch.no_grad()
    def conditionals(self, n: int, code: Code | None = None) -> Conditionals:
        """Walks over the tokens of all sites at once; sites that have ended drop out."""
        exact = freeze(self)
        rows = n * math.prod(self.sites)
        known = None if code is None else self._rows(code)
        atoms = torch.zeros(rows, self.k, dtype=torch.long, device=self.places.device)
        q = torch.zeros_like(atoms)
        open_ = torch.arange(rows, device=atoms.device)
        cache, last = exact.network.cache(rows), None
        context = exact._context(n)
        for j in range(self.k):
            logits = exact._next_atom(last, cache, context, atoms[open_, j - 1] if j else None)
            truth = None if known is None else torch.where(known[1] != 0, known[0], self.size)
            chosen = yield from_logits(logits, None if truth is None else truth[open_, j])
            going = chosen < self.size
            open_, context, cache = open_[going], context[going], cache.keep(going)
            if not len(open_):
                break
            atoms[open_, j] = chosen[going]
            feature = exact.network.step(chosen[going], cache, context)
            logits = exact.arithmetic.round(exact.value_head(feature))
            symbols = None if known is None else self.to_symbols(known[1][open_, j])
            value = yield from_logits(logits, symbols)
            q[open_, j] = self.from_symbols(value)
            last = value + self.size + 1
        return self.assemble(atoms, q)

    def _next_atom(
        self, last: Tensor | None, cache: KeyValueCache, context: Tensor, previous: Tensor | None
    ) -> Tensor:
        feature = self.network.step(last, cache, context)
        logits = self.arithmetic.round(self.atom_head(feature))
        if previous is None:
            return logits
        every = torch.arange(self.size + 1, device=logits.device)
        return logits.masked_fill(every <= previous[:, None], -torch.inf)

    def _logits(self, atoms: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of every atom and value given the tokens before, `[rows, width, ...]`."""
        active = q != 0
        atom_tokens = torch.where(active, atoms, self.size)
        value_tokens = self.to_symbols(q) + self.size + 1
        tokens = torch.stack([atom_tokens, value_tokens], dim=2).flatten(1)
        context = self._context(atoms.shape[0] // max(1, math.prod(self.sites)))
        out = self.network(tokens, context)
        every = torch.arange(self.size + 1, device=atoms.device)
        previous = F.pad(atoms.masked_fill(~active, -1), (1, 0), value=-1)[:, :-1]
        taken = every <= previous[..., None]
        return self.atom_head(out[:, 0::2]).masked_fill(taken, -torch.inf), self.value_head(
            out[:, 1::2]
        )

    def _context(self, n: int) -> Tensor:
        return self.arithmetic.round(self.places).repeat(n, 1)

    def _rows(self, code: Code) -> tuple[Tensor, Tensor]:
        atoms, q = self.whole_numbers(code)
        extra = q[:, self.k :]
        if bool((extra != 0).any()):
            raise ValueError(
                f"SparseAutoregressive: expected at most {self.k} atoms at a site, got "
                f"{int((q != 0).sum(1).max())}; make it with a larger k"
            )
        missing = self.k - atoms.shape[1]
        return F.pad(atoms, (0, missing)), F.pad(q, (0, missing))


def _nats(logits: Tensor, target: Tensor) -> Tensor:
    flat = F.cross_entropy(logits.flatten(0, 1).float(), target.flatten(), reduction="none")
    return flat.view(target.shape)
