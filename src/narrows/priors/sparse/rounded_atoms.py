"""What priors over sparse codes share: values rounded to multiples of a step."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from narrows.codes import Atoms, AtomValues, Code, CodeSpace, atoms_of
from narrows.priors.base import Autoregressive
from narrows.sparse.solution import canonical


class RoundedAtoms(Autoregressive):
    """A prior over active atoms and their values q Delta, q a whole number other than 0.

    A value that rounds to 0 is an atom that is not active.

    Args:
        sites: grid of sites; `()` for one code an example.
        size: number of atoms K.
        step: Delta, in the units of the values (for `SparseDictionary` the running standard
            deviation of a feature).
        levels: values are clamped to +-levels steps.

    Raises:
        ValueError: if an argument is out of range.
    """

    space: ClassVar[type[CodeSpace]] = AtomValues

    def __init__(
        self, sites: tuple[int, ...], size: int, *, step: float, levels: int = 2**53
    ) -> None:
        super().__init__(sites)
        if min(size, levels) < 1 or not 0 < step < math.inf:
            raise ValueError(
                f"{type(self).__name__}: expected size >= 1, a step > 0 and levels >= 1, got "
                f"{size}, {step} and {levels}"
            )
        self.size: int = size
        self.step: float = float(step)
        self.levels: int = levels

    @property
    def codes(self) -> AtomValues:
        """Any number of the `size` atoms with their values."""
        return AtomValues(self.size, self.size)

    def quantize(self, code: Code) -> Atoms:
        """Rounds values to multiples of the step; those that become 0 leave the support."""
        atoms, values = atoms_of(code)
        return canonical(atoms, self._clamp((values / self.step).round()) * self.step)

    def whole_numbers(self, code: Code) -> Atoms:
        """Atoms and q of all sites, each `[batch * sites, width]`, int64; q = 0 is padding.

        Raises:
            ValueError: if the sites differ, or a value is out of range or off the grid of the step.
        """
        atoms, values = self.codes.check(code, self.sites)
        scaled = values / self.step
        q = scaled.round()
        between = (scaled - q).abs() > 1e-3 + 1e-5 * q.abs()
        if bool((between | (self._clamp(q) != q)).any()):
            raise ValueError(
                f"{type(self).__name__}: a continuous value has no finite rate; expected multiples "
                f"of the step {self.step:g} within {self.levels:g} steps: pass prior.quantize(code)"
            )
        width = atoms.shape[-1]
        return Atoms(atoms.reshape(-1, width), q.long().reshape(-1, width))

    def assemble(self, atoms: Tensor, q: Tensor) -> Atoms:
        """Undoes `whole_numbers`."""
        shape = (len(atoms) // max(1, math.prod(self.sites)), *self.sites, atoms.shape[-1])
        values = q.to(torch.get_default_dtype()) * self.step
        return canonical(atoms.view(shape), values.view(shape))

    def dense(self, n: int, code: Code | None) -> Tensor:
        """q of every atom, `[n * sites, K]`; zeros where no code is given."""
        device = next(self.buffers()).device
        q = torch.zeros(n * math.prod(self.sites), self.size, dtype=torch.long, device=device)
        return q if code is None else q.scatter_add_(1, *self.whole_numbers(code))

    def from_dense(self, q: Tensor) -> Atoms:
        """The code of q for every atom, `[n * sites, K]`."""
        width = max(1, int((q != 0).sum(1).max())) if q.numel() else 1
        atoms = (q != 0).to(torch.uint8).topk(width, dim=1).indices
        return self.assemble(atoms, q.gather(1, atoms))

    def to_symbols(self, q: Tensor) -> Tensor:
        """q in -levels..-1, 1..levels as symbols 0..2 levels - 1."""
        return torch.where(q > 0, q + self.levels - 1, q + self.levels)

    def from_symbols(self, symbols: Tensor) -> Tensor:
        """Undoes `to_symbols`."""
        return torch.where(symbols >= self.levels, symbols - self.levels + 1, symbols - self.levels)

    def _clamp(self, q: Tensor) -> Tensor:
        return q.clamp(-self.levels, self.levels)
