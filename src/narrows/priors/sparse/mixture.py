"""Support, then values: a learned prior over sparse codes, fitted in closed-form steps."""

import math
from collections.abc import Iterable
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from narrows.codes import Code, concatenate, length
from narrows.functional.conditionals import Conditionals, from_logits
from narrows.functional.fixed_point import FIXED, snap
from narrows.latent import Latent
from narrows.priors.sparse.rounded_atoms import RoundedAtoms


class SparseMixture(RoundedAtoms):
    r"""p(a) = prod over sites of p(support) prod over active atoms of p(value | atom).

    .. math:: p(S) = \sum_m w_m \prod_j \theta_{mj}^{s_j} (1 - \theta_{mj})^{1 - s_j}

    A mixture knows which atoms are used together, which `SparseFactorial` does not; with one
    component the supports of both agree. Values are histograms of the quantised value by atom,
    drawn towards that of all atoms. Sites share the parameters and are independent. Before `fit` a
    site has one active atom on average, and all values are alike.

    Args:
        sites: grid of sites; `()` for one code an example.
        size: number of atoms K.
        step: quantisation step of values.
        components: Bernoulli mixture components M.
        levels: values are clamped to +-levels steps.
        iterations: of EM.

    Raises:
        ValueError: if a number is out of range.

    Source: EM for mixtures of Bernoullis: Bishop 2006, Pattern Recognition and Machine Learning,
    section 9.3.3; we start from random responsibilities and keep half a count everywhere.

    Example:
        >>> prior = SparseMixture(sites=(2,), size=6, step=0.5, components=2)
        >>> atoms, values = prior.sample(3, torch.Generator().manual_seed(0))
        >>> atoms.shape == values.shape
        True
    """

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
        super().__init__(sites, size, step=step, levels=levels)
        if min(components, iterations) < 1:
            raise ValueError(
                f"SparseMixture: expected at least 1 of components and iterations, got "
                f"{components} and {iterations}"
            )
        self.iterations = iterations
        self.register_buffer("weights", torch.full((components,), 1 / components).double())
        self.register_buffer("activation", torch.full((components, size), 1 / (size + 1)).double())
        self.register_buffer("value_logits", torch.zeros(size, 2 * levels).double())

    def rate(self, latent: Latent) -> Tensor:
        """-log p(code), `[batch]` in nats.

        Raises:
            ValueError: if the values are not multiples of the step; quantize the code first.
        """
        atoms, q = self.whole_numbers(latent.code)
        nats = -self._joint(atoms, q != 0).logsumexp(1)
        cost = -self.value_logits.log_softmax(1)[atoms, self.to_symbols(q)]
        nats = nats + (cost * (q != 0)).sum(1)
        return nats.view(latent.batch, math.prod(self.sites)).sum(1)

    @torch.no_grad()
    def conditionals(self, n: int, code: Code | None = None) -> Conditionals:
        """Walks over the atoms of all sites at once (active or not), then over the values."""
        q = self.dense(n, code)
        active = None if code is None else (q != 0).long()
        # log of a mass on a grid: products of many factors become exact sums.
        on, off = snap(self.activation.log(), 16), snap(torch.log1p(-self.activation), 16)
        state = snap(self.weights.log(), 16).expand(len(q), -1).clone()
        for j in range(self.size):
            mixed = FIXED.softmax(state) @ snap(self.activation[:, j], 32)
            p = mixed.clamp(2.0**-24, 1 - 2.0**-24)
            logits = snap(torch.stack([torch.log1p(-p), p.log()], dim=1))
            chosen = yield from_logits(logits, None if active is None else active[:, j])
            state = torch.where(chosen[:, None] > 0, state + on[:, j], state + off[:, j])
            if active is None:
                q[:, j] = chosen
        site, atom = q.nonzero().unbind(1)
        known = None if active is None else self.to_symbols(q[site, atom])
        chosen = yield from_logits(snap(self.value_logits)[atom], known)
        q[site, atom] = self.from_symbols(chosen)
        return self.from_dense(q)

    def fit(self, latents: Iterable[Latent]) -> Self:
        """EM on the supports and counts of the values, in one pass over the latents.

        Raises:
            ValueError: if there are no latents.
        """
        codes = [self.whole_numbers(self.quantize(latent.code)) for latent in latents]
        if not sum(map(length, codes)):
            raise ValueError("SparseMixture.fit: expected at least one latent, got none")
        atoms, q = concatenate(codes)
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
        share = (used.T + 0.5 * average) / (total[:, None] + 0.5)
        self.activation.copy_(share.clamp(1e-7, 1 - 1e-7))
        self.weights.copy_((total + 0.5) / (total + 0.5).sum())

    def _fit_values(self, atoms: Tensor, q: Tensor) -> None:
        on = q != 0
        counts = torch.zeros_like(self.value_logits)
        place = (atoms[on], self.to_symbols(q[on]))
        counts.index_put_(place, torch.ones_like(place[0], dtype=torch.float64), accumulate=True)
        pooled = (counts.sum(0) + 0.5) / (counts.sum() + self.levels)
        shared = counts + 2 * self.levels * pooled
        self.value_logits.copy_((shared / shared.sum(1, keepdim=True)).log())
