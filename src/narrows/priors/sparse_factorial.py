"""Sparse codes whose atoms are independent of each other."""

import math
from collections.abc import Iterable
from typing import Self

import torch
from torch import Tensor

from narrows.codes import Atoms, AtomValues, Code, atoms_of
from narrows.latent import Latent
from narrows.priors.base import Prior
from narrows.sparse.solution import canonical


def quantize(code: Code, step: float, levels: int) -> Atoms:
    """Values rounded to multiples of the step within +-levels; those that become 0 leave."""
    atoms, values = atoms_of(code)
    return canonical(atoms, (values / step).round().clamp(-levels, levels) * step)


def to_levels(
    code: Code, sites: tuple[int, ...], step: float, levels: int
) -> tuple[Tensor, Tensor]:
    """Atoms and q = value / step, each `[batch * sites, width]`, int64; q = 0 is padding.

    Raises:
        ValueError: if the sites differ, or a value is no multiple of the step or out of range.
    """
    atoms, values = atoms_of(code)
    if tuple(atoms.shape[1:-1]) != sites:
        raise ValueError(
            f"expected sparse codes [batch, {', '.join(map(str, (*sites, 'width')))}], got shape "
            f"{tuple(atoms.shape)}; build the prior for the sites of this model"
        )
    scaled = values / step
    q = scaled.round()
    if bool(((scaled - q).abs() > 1e-3 + 1e-5 * q.abs()).any()) or bool((q.abs() > levels).any()):
        raise ValueError(
            f"a continuous value has no finite rate; expected multiples of the step {step:g} "
            f"within {levels} steps: pass prior.quantize(code)"
        )
    width = atoms.shape[-1]
    return atoms.reshape(-1, width), q.long().reshape(-1, width)


def to_symbols(q: Tensor, levels: int) -> Tensor:
    """q in -levels..-1, 1..levels as symbols 0..2 levels - 1."""
    return torch.where(q > 0, q + levels - 1, q + levels)


def from_symbols(symbols: Tensor, levels: int) -> Tensor:
    """Undoes `to_symbols`."""
    return torch.where(symbols >= levels, symbols - levels + 1, symbols - levels)


def assemble(atoms: Tensor, q: Tensor, sites: tuple[int, ...], step: float) -> Atoms:
    """A code from rows `[batch * sites, width]` of atoms and numbers of steps."""
    n = atoms.shape[0]
    for size in sites:
        n //= size
    shape = (n, *sites, atoms.shape[-1])
    values = q.to(torch.get_default_dtype()) * step
    return canonical(atoms.view(shape), values.view(shape))


class SparseFactorial(Prior):
    r"""Bernoulli support times a discretised Laplace for each atom's value.

    .. math:: p(a) = \prod_{\text{sites}} \prod_j
        \begin{cases} 1 - \pi_j & q_j = 0 \\
        \pi_j \tfrac12 (1 - r_j)\, r_j^{|q_j| - 1} & q_j = a_j / \Delta \ne 0 \end{cases}

    A Laplace of scale b cut into bins of width Delta and deprived of the bin around 0 is this
    two-sided geometric, with r = exp(-Delta / b): nothing is approximated. A value that rounds
    to 0 is an atom that is not active.

    Sites share the parameters. The factorial support is the floor that a learned prior has to
    beat: it knows how often each atom is used, not which are used together.

    Args:
        sites: grid of sites; `()` for one code an example.
        size: number of atoms K.
        step: Delta, in the units of the values (for `SparseDictionary` the running standard
            deviation of a feature).
        l0: active atoms a site assumed before `fit`.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> prior = SparseFactorial(sites=(2,), size=4, step=1.0, l0=1.0)
        >>> atoms, values = prior.sample(3)
        >>> prior.rate(Latent(z=values, code=Atoms(atoms, values), features=values)).shape
        torch.Size([3])
    """

    space = AtomValues
    activation: Tensor
    ratio: Tensor

    def __init__(
        self, sites: tuple[int, ...], size: int, *, step: float = 0.5, l0: float = 1.0
    ) -> None:
        super().__init__(sites)
        if size < 1 or not 0 < l0 <= size:
            raise ValueError(f"expected 0 < l0 <= size, got size={size} and l0={l0}")
        if not (step > 0 and math.isfinite(step)):
            raise ValueError(f"expected a quantisation step > 0, got {step}")
        self.size = size
        self.step = float(step)
        self.register_buffer("activation", torch.full((size,), min(l0 / size, 1 - 1e-6)))
        # Values of a standardised signal are of order 1 before anything is known of them.
        self.register_buffer("ratio", torch.full((size,), math.exp(-self.step)))

    @property
    def codes(self) -> AtomValues:
        """Any number of the `size` atoms with their values."""
        return AtomValues(self.size, self.size)

    def quantize(self, code: Code) -> Code:
        """Rounds values to multiples of the step; those that become 0 leave the support."""
        atoms, values = atoms_of(code)
        return canonical(atoms, (values / self.step).round() * self.step)

    def rate(self, latent: Latent) -> Tensor:
        """Nats per example of a quantised code, `[batch]`.

        Raises:
            ValueError: if the values are not multiples of the step; quantize the code first.
        """
        atoms, counts = self._integers(latent.code)
        active = counts > 0
        log_odds = torch.logit(self.activation) + torch.log1p(-self.ratio) - math.log(2)
        spent = -log_odds[atoms] - (counts - 1) * self.ratio.log()[atoms]
        batch = atoms.shape[0]
        # What an all-zero code costs at every site.
        silence = -torch.log1p(-self.activation).sum() * math.prod(self.sites)
        return (spent * active).reshape(batch, math.prod(atoms.shape[1:])).sum(-1) + silence

    def sample(self, n: int, generator: torch.Generator | None = None) -> Code:
        """Draws n codes (atoms, values) `[n, *sites, width]`, the width as large as needed."""
        shape = (n, *self.sites, self.size)
        device = self.activation.device
        uniform = torch.rand((3, *shape), generator=generator, device=device)
        active = uniform[0] < self.activation
        # Inverse of the geometric's distribution function, on {1, 2, ...}.
        magnitude = 1 + torch.floor(torch.log1p(-uniform[1]) / self.ratio.log())
        values = active * magnitude * torch.where(uniform[2] < 0.5, -1, 1) * self.step
        width = max(int(active.sum(-1).max()), 1) if active.numel() else 1
        atoms = active.to(torch.uint8).topk(width, dim=-1).indices
        return canonical(atoms, values.gather(-1, atoms))

    def fit(self, latents: Iterable[Latent]) -> Self:
        """Maximum likelihood with half a pseudo-count, in one pass; quantises on the way.

        Raises:
            ValueError: if there are no latents.
        """
        used = torch.zeros(self.size, dtype=torch.float64)
        total = torch.zeros(self.size, dtype=torch.float64)
        sites = 0
        for latent in latents:
            atoms, counts = self._integers(self.quantize(latent.code))
            flat, amount = atoms.flatten().cpu(), counts.flatten().double().cpu()
            used.index_add_(0, flat, (amount > 0).double())
            total.index_add_(0, flat, amount)
            sites += math.prod(atoms.shape[:-1])
        if sites == 0:
            raise ValueError("SparseFactorial.fit: expected at least one latent, got none")
        self.activation.copy_((used + 0.5) / (sites + 1))
        # Mean magnitude is 1 / (1 - r); a rarely used atom leans on the mean of all.
        overall = (total.sum() + 1.5) / (used.sum() + 1)
        mean = (total + overall) / (used + 1)
        self.ratio.copy_((1 - 1 / mean).clamp(1e-6, 1 - 1e-6))
        return self

    def _integers(self, code: Code) -> tuple[Tensor, Tensor]:
        """Atoms and |values| / step as whole numbers."""
        atoms, values = atoms_of(code)
        if tuple(atoms.shape[1:-1]) != self.sites:
            raise ValueError(
                f"SparseFactorial: expected codes on sites {self.sites}, got shape "
                f"{tuple(atoms.shape)} [batch, *sites, width]"
            )
        scaled = values.abs() / self.step
        counts = scaled.round()
        tolerance = 1e-3 + 1e-5 * counts
        if bool(((scaled - counts).abs() > tolerance).any()):
            raise ValueError(
                f"SparseFactorial: a continuous value has no finite rate; expected multiples of "
                f"the step {self.step:g}: pass prior.quantize(code)"
            )
        return atoms, counts
