"""Support, then values: a learned prior over sparse codes, fitted in closed-form steps."""

import math
from collections.abc import Iterable
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from narrows.codes import AtomValues, Code
from narrows.functional.fixed_point import FIXED, snap
from narrows.latent import Latent
from narrows.priors.sparse_factorial import (
    assemble,
    from_symbols,
    quantize,
    to_levels,
    to_symbols,
)
from narrows.priors.walk import Walk, Walked


class SparseMixture(Walked):
    r"""p(a) = prod over sites of p(support) prod over active atoms of p(value | atom).

    .. math:: p(S) = \sum_m w_m \prod_j \theta_{mj}^{s_j} (1 - \theta_{mj})^{1 - s_j}

    A mixture knows which atoms are used together, which `SparseFactorial` does not; with one
    component the supports of both agree. Values are histograms of the quantised value by atom,
    drawn towards that of all atoms. Sites share the parameters and are independent.

    Source: EM for mixtures of Bernoullis: Bishop 2006, Pattern Recognition and Machine Learning,
    section 9.3.3; we start from random responsibilities and keep half a count everywhere.

    Example:
        >>> prior = SparseMixture(sites=(2,), size=6, step=0.5, components=2)
        >>> atoms, values = prior.sample(3, torch.Generator().manual_seed(0))
        >>> atoms.shape == values.shape
        True
    """

    space = AtomValues
    weights: Tensor
    activation: Tensor
    value_logits: Tensor

    def __init__(
        self,
        sites: tuple[int, ...],
        size: int,
        *,
        step: float = 0.5,
        components: int = 32,
        levels: int = 31,
        iterations: int = 30,
    ) -> None:
        """Makes the prior before fitting: one active atom a site, all values alike.

        Args:
            sites: grid of sites; `()` for one code an example.
            size: number of atoms K.
            step: quantisation step of values.
            components: Bernoulli mixture components M.
            levels: values are clamped to +-levels steps.
            iterations: of EM.

        Raises:
            ValueError: if a number is out of range.
        """
        super().__init__(sites)
        if min(size, components, levels, iterations) < 1 or not step > 0:
            raise ValueError(
                "SparseMixture: expected a positive step and at least 1 of size, components, "
                f"levels and iterations, got step={step}, size={size}, components={components}, "
                f"levels={levels}, iterations={iterations}"
            )
        self.size, self.step, self.levels, self.iterations = size, float(step), levels, iterations
        self.register_buffer("weights", torch.full((components,), 1 / components).double())
        self.register_buffer("activation", torch.full((components, size), 1 / (size + 1)).double())
        self.register_buffer("value_logits", torch.zeros(size, 2 * levels).double())

    @property
    def codes(self) -> AtomValues:
        """Any number of the `size` atoms with their values."""
        return AtomValues(self.size, self.size)

    def quantize(self, code: Code) -> Code:
        """Rounds and clamps values; those that become 0 leave the support."""
        return quantize(code, self.step, self.levels)

    def rate(self, latent: Latent) -> Tensor:
        """-log p(code), `[batch]` in nats.

        Raises:
            ValueError: if the values are not multiples of the step; quantize the code first.
        """
        atoms, q = to_levels(latent.code, self.sites, self.step, self.levels)
        nats = -self._joint(atoms, q != 0).logsumexp(1)
        cost = -self.value_logits.log_softmax(1)[atoms, to_symbols(q, self.levels).clamp(min=0)]
        nats = nats + (cost * (q != 0)).sum(1)
        return nats.view(latent.batch, math.prod(self.sites)).sum(1)

    @torch.no_grad()
    def walk(self, n: int, code: Code | None = None) -> Walk:
        """Walks over the atoms of all sites at once (active or not), then over the values."""
        rows = n * math.prod(self.sites)
        active, levels = self._dense(rows, code)
        # log of a mass on a grid: products of many factors become exact sums.
        on, off = snap(self.activation.log(), 16), snap(torch.log1p(-self.activation), 16)
        state = snap(self.weights.log(), 16).expand(rows, -1).clone()
        for j in range(self.size):
            mixed = FIXED.softmax(state) @ snap(self.activation[:, j], 32)
            p = mixed.clamp(2.0**-24, 1 - 2.0**-24)
            logits = snap(torch.stack([torch.log1p(-p), p.log()], dim=1))
            known = None if active is None else active[:, j]
            chosen = yield logits, known
            state = torch.where(chosen[:, None] > 0, state + on[:, j], state + off[:, j])
            if active is None:
                levels[:, j] = chosen
        site, atom = (levels != 0).nonzero().unbind(1)
        table = snap(self.value_logits)
        known = None if active is None else to_symbols(levels[site, atom], self.levels)
        chosen = yield table[atom], known
        levels[site, atom] = from_symbols(chosen, self.levels)
        return self._sparse(levels)

    def fit(self, latents: Iterable[Latent]) -> Self:
        """EM on the supports and counts of the values, in one pass over the latents.

        Raises:
            ValueError: if there are no latents.
        """
        codes = [self.quantize(latent.code) for latent in latents]
        pairs = [to_levels(code, self.sites, self.step, self.levels) for code in codes]
        if not sum(len(q) for _, q in pairs):
            raise ValueError("SparseMixture.fit: expected at least one latent, got none")
        width = max(q.shape[1] for _, q in pairs)
        atoms, q = (
            torch.cat([F.pad(pair[i], (0, width - pair[i].shape[1])) for pair in pairs])
            for i in range(2)
        )
        self._fit_values(atoms, q)
        generator = torch.Generator().manual_seed(0)
        first = torch.rand(len(q), len(self.weights), generator=generator, dtype=torch.float64)
        self._maximise(atoms, q != 0, (4 * first).softmax(1).to(q.device))
        for _ in range(self.iterations):
            self._maximise(atoms, q != 0, self._joint(atoms, q != 0).softmax(1))
        return self

    def _joint(self, atoms: Tensor, active: Tensor) -> Tensor:
        """log w_m + log p(S | m), `[rows, M]`; only the active atoms are looked at."""
        silence = torch.log1p(-self.activation).sum(1)
        odds = torch.logit(self.activation).T.contiguous()
        gain = F.embedding_bag(atoms, odds, per_sample_weights=active.double(), mode="sum")
        return self.weights.log() + silence + gain

    def _maximise(self, atoms: Tensor, active: Tensor, shares: Tensor) -> None:
        total = shares.sum(0)
        used = torch.zeros(self.size, len(total), dtype=torch.float64, device=shares.device)
        for column in range(atoms.shape[1]):
            used.index_add_(0, atoms[:, column], shares * active[:, column, None])
        # A component sees few codes: half a count of the average code keeps it honest.
        average = (used.sum(1) + 0.5) / (total.sum() + 1)
        self.activation.copy_(
            ((used.T + 0.5 * average) / (total[:, None] + 0.5)).clamp(1e-7, 1 - 1e-7)
        )
        self.weights.copy_((total + 0.5) / (total + 0.5).sum())

    def _fit_values(self, atoms: Tensor, q: Tensor) -> None:
        on = q != 0
        counts = torch.zeros_like(self.value_logits)
        place = (atoms[on], to_symbols(q[on], self.levels))
        counts.index_put_(place, torch.ones_like(place[0], dtype=torch.float64), accumulate=True)
        pooled = (counts.sum(0) + 0.5) / (counts.sum() + self.levels)
        shared = counts + 2 * self.levels * pooled
        self.value_logits.copy_((shared / shared.sum(1, keepdim=True)).log())

    def _dense(self, rows: int, code: Code | None) -> tuple[Tensor | None, Tensor]:
        levels = torch.zeros(rows, self.size, dtype=torch.long, device=self.weights.device)
        if code is None:
            return None, levels
        atoms, q = to_levels(code, self.sites, self.step, self.levels)
        levels.scatter_add_(1, atoms, q)
        return (levels != 0).long(), levels

    def _sparse(self, levels: Tensor) -> Code:
        width = max(1, int((levels != 0).sum(1).max())) if levels.numel() else 1
        atoms = (levels != 0).to(torch.uint8).topk(width, dim=1).indices
        return assemble(atoms, levels.gather(1, atoms), self.sites, self.step)
