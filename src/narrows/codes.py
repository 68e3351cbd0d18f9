"""Codes: what is stored for an example, operations on codes, and descriptions of their kind.

A code is one of

- indices: an integer tensor `[batch, *sites]`, or `[batch, *sites, channels]`;
- values: a floating-point tensor `[batch, *sites, dim]`;
- `Atoms`: which atoms of a dictionary are active, and their values;
- parts: a plain tuple of codes, as `Split` makes; it may be nested.

The functions here work on every kind, so other files need not ask which one they have. A
bottleneck says which codes it makes by a `CodeSpace` (`Bottleneck.codes`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, TypeAlias, TypeVar, cast

import torch
from torch import Tensor
from torch.nn.functional import pad


class Atoms(NamedTuple):
    """A sparse code: the active atoms of each site in ascending order, then padding.

    Attributes:
        atoms: indices of atoms, `[batch, *sites, width]`, int64.
        values: their values, of the same shape; exactly 0 marks padding.
    """

    atoms: Tensor
    values: Tensor

    def coefficients(self, size: int) -> Tensor:
        """The dense form: one number for each of `size` atoms, `[batch, *sites, size]`."""
        dense = self.values.new_zeros(*self.atoms.shape[:-1], size)
        return dense.scatter_add(-1, self.atoms, self.values)


Code: TypeAlias = Tensor | Atoms | tuple["Code", ...]
"""What is stored for a batch of examples; see the module."""

AnyCode = TypeVar("AnyCode", bound=Code)


def apply(function: Callable[[Tensor], Tensor], code: AnyCode) -> AnyCode:
    """A code of the same kind with every tensor t replaced by function(t).

    Example:
        >>> apply(lambda t: t + 1, (torch.zeros(2), (torch.ones(1), torch.ones(1))))
        (tensor([1., 1.]), (tensor([2.]), tensor([2.])))
    """
    given: Code = code
    if isinstance(given, Tensor):
        made: Code = function(given)
    elif isinstance(given, Atoms):
        made = Atoms(function(given.atoms), function(given.values))
    else:
        made = tuple(apply(function, part) for part in given)
    return cast("AnyCode", made)


def tensors(code: Code) -> list[Tensor]:
    """All tensors of a code, in order."""
    if isinstance(code, Tensor):
        return [code]
    if not isinstance(code, Sequence) or isinstance(code, str):
        raise TypeError(
            f"expected a code of torch tensors, got {type(code).__name__}; convert arrays with "
            "torch.as_tensor(...)"
        )
    return [tensor for part in code for tensor in tensors(part)]


def length(code: Code) -> int:
    """Number of examples."""
    return tensors(code)[0].shape[0]


def rows(code: AnyCode, index: slice | Tensor) -> AnyCode:
    """The codes of some examples."""
    return apply(lambda tensor: tensor[index], code)


def to(code: AnyCode, device: torch.device | str) -> AnyCode:
    """The code on a device."""
    return apply(lambda tensor: tensor.to(device), code)


def one_tensor(code: Code) -> Tensor:
    """The tensor that a code of indices or values is.

    Raises:
        ValueError: if the code is of another kind.
    """
    if not isinstance(code, Tensor):
        raise ValueError(f"expected a code that is one tensor, got {describe(code)}")
    return code


def atoms_of(code: Code) -> Atoms:
    """The code, which must be `Atoms` of two equal shapes.

    Raises:
        ValueError: if it is something else.
    """
    if not isinstance(code, Atoms) or code.atoms.shape != code.values.shape:
        raise ValueError(
            f"this is for sparse codes: expected Atoms(atoms, values), got {describe(code)}"
        )
    return code


def parts_of(code: Code, count: int) -> tuple[Code, ...]:
    """The codes of several parts.

    Raises:
        ValueError: if the code is not a tuple of as many codes.
    """
    if isinstance(code, (Tensor, Atoms)) or len(code) != count:
        raise ValueError(f"expected a tuple of {count} codes, got {describe(code)}")
    return code


def is_discrete(code: Code) -> bool:
    """True if no tensor of the code is floating point."""
    return not any(tensor.is_floating_point() for tensor in tensors(code))


def concatenate(codes: Sequence[AnyCode]) -> AnyCode:
    """The codes of several batches as one; atoms are padded to the widest.

    Args:
        codes: one or more, of the same kind.

    Example:
        >>> one, two = torch.ones(1, 1), torch.ones(1, 2)
        >>> concatenate([Atoms(one.long(), one), Atoms(two.long(), two)]).values
        tensor([[1., 0.],
                [1., 1.]])
    """
    given: Sequence[Code] = codes
    if isinstance(given[0], Tensor):
        return cast("AnyCode", torch.cat([tensor for code in given for tensor in tensors(code)]))
    columns = [*zip(*cast("Sequence[tuple[Code, ...]]", given), strict=True)]
    if not isinstance(given[0], Atoms):
        return cast("AnyCode", tuple(concatenate(column) for column in columns))
    joined = []
    for column in cast("list[tuple[Tensor, ...]]", columns):
        width = max(part.shape[-1] for part in column)
        joined.append(torch.cat([pad(part, (0, width - part.shape[-1])) for part in column]))
    return cast("AnyCode", Atoms(*joined))


def trimmed(code: AnyCode) -> AnyCode:
    """The code without atoms' padding beyond the widest site."""
    given: Code = code
    if isinstance(given, Tensor):
        return code
    if not isinstance(given, Atoms):
        return cast("AnyCode", tuple(map(trimmed, given)))
    width = int((given.values != 0).sum(-1).max()) if given.values.numel() else 0
    return cast("AnyCode", apply(lambda part: part[..., :width], given))


@dataclass(frozen=True)
class CodeSpace(ABC):
    """Describes the codes that a bottleneck makes: their kind, and the bounds that they keep.

    Attributes:
        words: the kind in words, for messages.
    """

    words: ClassVar[str] = "any codes"

    @abstractmethod
    def check(self, code: Code, sites: tuple[int, ...] | None = None) -> Code:
        """The code itself, if it lies in this space.

        Args:
            code: any.
            sites: shape of the grid of sites; None accepts any.

        Raises:
            ValueError: if the code is of another kind or shape, or outside the bounds.
        """

    @abstractmethod
    def __str__(self) -> str:
        """The codes in words, for messages."""

    def includes(self, other: "CodeSpace") -> bool:
        """True if a prior over this space can be one over the other: no bound is wider there."""
        match self, other:
            case Indices(), Indices():
                fits = all(map(int.__ge__, self.each, other.each))
                return other.channels == self.channels and fits
            case AtomValues(), AtomValues():
                return other.size <= self.size
            case Values(), Values():
                return other.dim == self.dim
            case Several(), Several() if len(other.parts) == len(self.parts):
                return all(a.includes(b) for a, b in zip(self.parts, other.parts, strict=True))
        return self == other

    def grid(self, sites: tuple[int, ...]) -> tuple[int, ...]:
        """The sites of a code, given those of the features."""
        return sites

    def narrowed(self, _codes: Iterable[Code], /) -> "CodeSpace":
        """This space with the tightest bounds that hold for the given codes."""
        return self

    def assemble(self, parts: Iterator[Tensor]) -> Code:
        """The code made of the next tensors; undoes `tensors`."""
        return next(parts)


@dataclass(frozen=True)
class Indices(CodeSpace):
    """Integers in 0..size-1.

    Attributes:
        size: number of different indices.
        channels: indices of each site, in a last axis; None where there is no such axis.
        partial: True if -1 may stand for an index that was not sent.
        sizes: number of different indices of each channel, at most `size`; None where all have
            `size`.
    """

    size: int
    channels: int | None = None
    partial: bool = False
    sizes: tuple[int, ...] | None = None
    words: ClassVar[str] = "integer indices"

    def shape(self, sites: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of one example's code."""
        return (*sites, *(() if self.channels is None else (self.channels,)))

    def check(self, code: Code, sites: tuple[int, ...] | None = None) -> Tensor:
        """The code as one tensor of integers; see `CodeSpace.check`."""
        if not isinstance(code, Tensor) or not _is_integer(code):
            raise ValueError(f"expected {self} in one tensor, got {describe(code)}")
        _check_shape(code, sites, *self.shape(()))
        _check_bounds(self.words, code, -int(self.partial), self.size)
        for channel, size in enumerate(self.sizes or ()):
            _check_bounds(f"{self.words} of channel {channel}", code[..., channel], -1, size)
        return code.long()

    @property
    def each(self) -> tuple[int, ...]:
        """Number of different indices of each channel."""
        return self.sizes or (self.size,) * (self.channels or 1)

    def __str__(self) -> str:
        each = "" if self.channels is None else f"{self.channels} a site, "
        bounds = self.sizes or (self.size,)
        return f"{self.words} ({each}{', '.join(f'0..{size - 1}' for size in bounds)})"


@dataclass(frozen=True)
class Values(CodeSpace):
    """Real numbers, `dim` at each site.

    Attributes:
        dim: width of the last axis.
        exact_zeros: True if many values are exactly 0, and rounding should keep these.
    """

    dim: int
    exact_zeros: bool = False
    words: ClassVar[str] = "continuous values"

    def check(self, code: Code, sites: tuple[int, ...] | None = None) -> Tensor:
        """The code as one floating-point tensor; see `CodeSpace.check`."""
        if not isinstance(code, Tensor) or not code.is_floating_point():
            raise ValueError(f"expected {self} in one tensor, got {describe(code)}")
        _check_shape(code, sites, self.dim)
        return code

    def __str__(self) -> str:
        return f"{self.words} ({self.dim} a site{', with exact zeros' * self.exact_zeros})"


@dataclass(frozen=True)
class AtomValues(CodeSpace):
    """A few active atoms of a dictionary with their values.

    Attributes:
        size: number of atoms of the dictionary.
        k: most atoms that are active at a site.
        whole: True if one code covers all sites of an example, and so has no site axes.
    """

    size: int
    k: int
    whole: bool = False
    words: ClassVar[str] = "atoms and values"

    def grid(self, sites: tuple[int, ...]) -> tuple[int, ...]:
        """The features' own, or none."""
        return () if self.whole else sites

    def narrowed(self, codes: Iterable[Code]) -> "AtomValues":
        """With the k that the given codes need, at least 1."""
        return replace(
            self, k=max([1, *(trimmed(atoms_of(code)).atoms.shape[-1] for code in codes)])
        )

    def check(self, code: Code, sites: tuple[int, ...] | None = None) -> Atoms:
        """The code as `Atoms`; see `CodeSpace.check`."""
        atoms, values = atoms_of(code)
        if not _is_integer(atoms) or not values.is_floating_point():
            raise ValueError(f"expected integers and floating-point values, got {describe(code)}")
        _check_shape(atoms, sites, "width")
        _check_bounds("atoms", atoms, 0, self.size)
        return Atoms(atoms.long(), values)

    def assemble(self, parts: Iterator[Tensor]) -> Atoms:
        """Atoms and values."""
        return Atoms(next(parts), next(parts))

    def __str__(self) -> str:
        return f"{self.words} (up to {self.k} of {self.size} a site)"


@dataclass(frozen=True)
class Several(CodeSpace):
    """One code for each part, in a tuple.

    Attributes:
        parts: the spaces of the parts.
    """

    parts: tuple[CodeSpace, ...]
    words: ClassVar[str] = "codes of several parts"

    def check(self, code: Code, sites: tuple[int, ...] | None = None) -> tuple[Code, ...]:
        """The code as a tuple of the parts' codes; see `CodeSpace.check`."""
        pairs = zip(self.parts, parts_of(code, len(self.parts)), strict=True)
        return tuple(space.check(part, sites) for space, part in pairs)

    def assemble(self, parts: Iterator[Tensor]) -> tuple[Code, ...]:
        """The parts' codes."""
        return tuple(space.assemble(parts) for space in self.parts)

    def __str__(self) -> str:
        return f"{len(self.parts)} parts: {', '.join(map(str, self.parts))}"


def describe(code: Code) -> str:
    """A code's kinds and shapes in words, for messages."""
    shapes = [f"{tensor.dtype} {list(tensor.shape)}" for tensor in tensors(code)]
    return shapes[0] if isinstance(code, Tensor) else f"{type(code).__name__}({', '.join(shapes)})"


def _is_integer(tensor: Tensor) -> bool:
    """True for indices of any width, signed or not."""
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def _check_bounds(what: str, index: Tensor, least: int, size: int) -> None:
    if torch.compiler.is_compiling() or not index.numel():
        return  # graph capture cannot branch on data
    low, high = int(index.min()), int(index.max())
    if not least <= low <= high < size:
        raise ValueError(
            f"expected {what} in {least}..{size - 1}, got {low}..{high}; was the code made by "
            "another bottleneck?"
        )


def _check_shape(tensor: Tensor, sites: tuple[int, ...] | None, *last: int | str) -> None:
    """Refuses other sites than these, and other last axes; a word stands for any width."""
    end = tensor.dim() - len(last)
    widths = zip(last, tensor.shape[end:], strict=False)
    fine = end >= 1 and all(want in (size, "width") for want, size in widths)
    if not fine or (sites is not None and tuple(tensor.shape[1:end]) != sites):
        expected = [*(["*sites"] if sites is None else sites), *last]
        raise ValueError(
            f"expected a code of shape [batch, {', '.join(map(str, expected))}], got "
            f"{list(tensor.shape)}; build the prior with bottleneck.default_prior(sites)"
        )
