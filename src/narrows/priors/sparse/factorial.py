"""Sparse codes whose atoms are independent of each other."""

import math
from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor

from narrows.codes import Atoms, Code, apply, atoms_of
from narrows.functional.conditionals import Conditionals, Walk, from_arrays
from narrows.functional.ranks import sum_over_ranks
from narrows.latent import Latent
from narrows.priors.sparse.rounded_atoms import RoundedAtoms

_GEOMETRIC = 64  # symbols of a geometric before it starts again; exact, as it has no memory


class SparseFactorial(RoundedAtoms):
    r"""Bernoulli support times a discretised Laplace for each atom's value.

    .. math:: p(a) = \prod_{\text{sites}} \prod_j
        \begin{cases} 1 - \pi_j & q_j = 0 \\
        \pi_j \sigma_j (1 - r_j)\, r_j^{|q_j| - 1} & q_j = a_j / \Delta \ne 0 \end{cases}

    A Laplace of scale b cut into bins of width Delta and deprived of the bin around 0 is this
    two-sided geometric, with r = exp(-Delta / b): nothing is approximated. sigma is the share of
    the value's sign, 1/2 until `fit`: codes that are never negative pay nothing for signs.

    Sites share the parameters. The factorial support is the floor that a learned prior has to
    beat: it knows how often each atom is used, not which are used together.

    Args:
        sites: grid of sites; `()` for one code an example.
        size: number of atoms K.
        step: Delta, in the units of the values.
        l0: active atoms a site assumed before `fit`.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> prior = SparseFactorial(sites=(2,), size=4, step=1.0, l0=1.0)
        >>> code = prior.sample(3)
        >>> prior.rate(Latent(z=code.values, code=code, features=code.values)).shape
        torch.Size([3])
    """

    activation: Tensor
    ratio: Tensor
    positive: Tensor

    def __init__(
        self, sites: tuple[int, ...], size: int, *, step: float = 0.5, l0: float = 1.0
    ) -> None:
        super().__init__(sites, size, step=step)
        if not 0 < l0 <= size:
            raise ValueError(f"SparseFactorial: expected 0 < l0 <= size, got {l0} and {size}")
        self.register_buffer("activation", torch.full((size,), min(l0 / size, 1 - 1e-6)))
        # Values of a standardised signal are of order 1 before anything is known of them.
        self.register_buffer("ratio", torch.full((size,), math.exp(-self.step)))
        self.register_buffer("positive", torch.full((size,), 0.5))

    def rate(self, latent: Latent) -> Tensor:
        """Nats per example of a quantised code, `[batch]`.

        Raises:
            ValueError: if the values are not multiples of the step; quantize the code first.
        """
        atoms, q = self.whole_numbers(latent.code)
        magnitude = q.abs().to(atoms_of(latent.code).values.dtype)
        log_odds = torch.logit(self.activation) + torch.log1p(-self.ratio)
        sign = torch.where(q > 0, self.positive[atoms], 1 - self.positive[atoms]).log()
        spent = -log_odds[atoms] - sign - (magnitude - 1) * self.ratio.log()[atoms]
        # What an all-zero code costs at every site.
        silence = -torch.log1p(-self.activation).sum() * math.prod(self.sites)
        each = math.prod(self.sites) * atoms.shape[1]
        return (spent * (q != 0)).reshape(latent.batch, each).sum(-1) + silence

    @torch.no_grad()
    def conditionals(self, n: int, code: Code | None = None) -> Conditionals:
        """Atom after atom: where it is active, then signs, then magnitudes."""
        q = self.dense(n, code).cpu().numpy()
        parameters = torch.stack([self.activation, self.positive, self.ratio], 1)
        for j, own in enumerate(parameters.double().cpu().numpy()):
            q[:, j] = yield from _atom(own, len(q), None if code is None else q[:, j])
        return self.from_dense(torch.from_numpy(q).to(self.activation.device))

    def fit(self, latents: Iterable[Latent]) -> Self:
        """Maximum likelihood with half a pseudo-count, in one pass; quantises on the way.

        Raises:
            ValueError: if there are no latents.
        """
        sums = torch.zeros(4, self.size, dtype=torch.float64)
        for latent in latents:
            sums += self._sums(self.whole_numbers(self.quantize(latent.code))).cpu()
        if not bool(sums[3, 0] > 0):
            raise ValueError("SparseFactorial.fit: expected at least one latent, got none")
        self._settle(sums.to(self.activation.device))
        return self

    def _sums(self, numbers: Atoms) -> Tensor:
        """Over codes `[n, width]` of whole numbers, for each atom: uses, sizes, signs, and n."""
        atoms, q = numbers
        sums = torch.zeros(4, self.size, dtype=torch.float64, device=q.device)
        for row, added in zip(sums, (q != 0, q.abs(), q > 0), strict=False):
            row.index_add_(0, atoms.flatten(), added.flatten().double())
        sums[3] = len(q)
        return sums

    def _settle(self, sums: Tensor) -> None:
        """Maximum likelihood with half a pseudo-count."""
        used, total, above, sites = sums
        self.activation.copy_((used + 0.5) / (sites + 1))
        # A rarely used atom leans on the mean of all; the mean magnitude is 1 / (1 - r).
        share = (above.sum() + 0.5) / (used.sum() + 1)
        self.positive.copy_(((above + share) / (used + 1)).clamp(1e-7, 1 - 1e-7))
        overall = (total.sum() + 1.5) / (used.sum() + 1)
        mean = (total + overall) / (used + 1)
        self.ratio.copy_((1 - 1 / mean).clamp(1e-6, 1 - 1e-6))


class MovingSparseFactorial(SparseFactorial):
    """`SparseFactorial` whose parameters follow training, so that the rate is known meanwhile.

    The sums that `fit` takes over a set (uses of each atom, sizes and signs of its values, codes)
    become s <- g s + (sum over the step's codes) after each optimiser step.

    Args:
        sites: grid of sites; `()` for one code an example.
        size: number of atoms K.
        step: Delta, in the units of the values.
        l0: active atoms a site assumed at first.
        decay: g.

    Raises:
        ValueError: if an argument is out of range.
    """

    sums: Tensor

    def __init__(
        self,
        sites: tuple[int, ...],
        size: int,
        *,
        step: float = 0.5,
        l0: float = 1.0,
        decay: float = 0.98,
    ) -> None:
        super().__init__(sites, size, step=step, l0=l0)
        if not 0 <= decay < 1:
            raise ValueError(f"MovingSparseFactorial: decay must be in [0, 1), got {decay}")
        self.decay: float = decay
        self.register_buffer("sums", torch.zeros(4, size, dtype=torch.float64))

    def update(self, latents: Sequence[Latent], /) -> None:
        """Follows the codes of one optimiser step."""
        self.follow([atoms_of(latent.code) for latent in latents])

    @torch.no_grad()
    def follow(self, codes: Sequence[Atoms]) -> None:
        """`update` from the codes alone, on any sites."""
        sums = torch.zeros_like(self.sums)
        for code in codes:
            atoms, values = apply(lambda part: part.flatten(0, -2), self.quantize(code))
            sums += self._sums(Atoms(atoms, (values / self.step).round().long()))
        sum_over_ranks(sums)
        if bool(sums[3, 0] > 0):
            self.sums.mul_(self.decay).add_(sums)
            self._settle(self.sums)


def _atom(parameters: np.ndarray, rows: int, q: np.ndarray | None) -> Walk[np.ndarray]:
    """Walks over the values of one atom at all sites; returns q `[rows]`."""
    activation, above, ratio = parameters
    active = yield from_arrays([1 - activation, activation], rows, None if q is None else q != 0)
    place = np.flatnonzero(active.numpy())
    signs = None if q is None else q[place] > 0
    positive = yield from_arrays([1 - above, above], len(place), signs)
    rest = None if q is None else np.abs(q[place]) - 1
    magnitude = np.ones(len(place), np.int64)
    table = np.append((1 - ratio) * ratio ** np.arange(_GEOMETRIC), ratio**_GEOMETRIC)
    left = np.arange(len(place))
    while len(left):
        known = None if rest is None else np.minimum(rest[left], _GEOMETRIC)
        symbols = (yield from_arrays(table, len(left), known)).numpy()
        magnitude[left] += symbols
        if rest is not None:
            rest[left] -= symbols
        left = left[symbols == _GEOMETRIC]
    found = np.zeros(rows, np.int64)
    found[place] = np.where(positive.numpy() > 0, magnitude, -magnitude)
    return found
