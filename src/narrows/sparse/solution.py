"""What every sparse solver returns, and the problem it was given."""

from dataclasses import dataclass

import torch
from torch import Tensor

from narrows.codes import Atoms

# Compiled and reduced-precision norms differ from 1 by their rounding, never by this much.
_UNIT_TOLERANCE = 1e-3
_TILE = 512


@dataclass(frozen=True, eq=False)
class SparseSolution:
    """Sparse codes of n signals over K atoms, in canonical form.

    Attributes:
        atoms: indices of the active atoms, int64 `[n, width]`, ascending; then padding.
        values: their coefficients `[n, width]`; a coefficient of exactly 0 is padding (its atom
            is given as 0), so activity is `values != 0` and nothing else.
        size: number of atoms K of the dictionary.
        objective: what was minimised, `[n]`, in squared units of the signal.
        gap: duality gap `[n]`, an upper bound of objective minus optimum; None where the
            problem (exactly k atoms) has no convex dual.
        converged: whether each signal met the solver's tolerance, bool `[n]`.
    """

    atoms: Tensor
    values: Tensor
    size: int
    objective: Tensor
    gap: Tensor | None
    converged: Tensor

    @property
    def codes(self) -> Tensor:
        """The same codes as a dense tensor `[n, K]`."""
        dense = self.values.new_zeros(self.values.shape[0], self.size)
        return dense.scatter_add(1, self.atoms, self.values)

    @property
    def l0(self) -> Tensor:
        """Number of active atoms of each signal, int64 `[n]`."""
        return (self.values != 0).sum(-1)


def canonical(atoms: Tensor, values: Tensor) -> Atoms:
    """Sorts each code by atom, inactive entries last, so that equal codes are equal tensors.

    Args:
        atoms: `[..., width]`, without repetition among the active ones.
        values: `[..., width]`; 0 means inactive.
    """
    active = values != 0
    last = torch.iinfo(atoms.dtype).max
    ordered, order = atoms.masked_fill(~active, last).sort(dim=-1)
    return Atoms(ordered.masked_fill(ordered == last, 0), values.gather(-1, order))


def from_dense(codes: Tensor) -> Atoms:
    """Atoms and values of dense codes `[n, K]`, canonical, as wide as the fullest code."""
    width = max(int((codes != 0).sum(-1).max()), 1) if len(codes) else 1
    atoms = codes.abs().topk(width, dim=-1, sorted=False).indices
    return canonical(atoms, codes.gather(-1, atoms))


def tiles(signals: Tensor) -> list[slice]:
    """Rows that torch works on at once: few on a CPU, which hears Ctrl-C in between.

    A program that is compiled or exported has no loop over its batch.
    """
    if signals.device.type != "cpu" or torch.compiler.is_compiling():
        return [slice(None)]
    return [slice(i, i + _TILE) for i in range(0, max(len(signals), 1), _TILE)]


def check_problem(signals: Tensor, dictionary: Tensor, *, unit_norm: bool) -> None:
    """Refuses what cannot be coded.

    Raises:
        TypeError: unless both are tensors.
        ValueError: unless signals are `[n, dim]`, the dictionary `[K, dim]` of the same
            floating dtype, its atoms finite, none zero, and (if asked) each atom of norm 1.
    """
    for name, given in (("signals", signals), ("a dictionary", dictionary)):
        if not isinstance(given, Tensor):
            raise TypeError(
                f"expected {name} as a torch tensor, got {type(given).__name__}; convert with "
                "torch.as_tensor(...), or take narrows.sparse.SparseCoder for arrays"
            )
    if dictionary.dim() != 2 or dictionary.shape[0] == 0 or dictionary.shape[1] == 0:
        raise ValueError(f"expected a dictionary [atoms, dim], got {tuple(dictionary.shape)}")
    if signals.dim() != 2 or signals.shape[1] != dictionary.shape[1]:
        raise ValueError(
            f"expected signals [n, {dictionary.shape[1]}] for a dictionary of shape "
            f"{tuple(dictionary.shape)}, got {tuple(signals.shape)}; one signal a row, one atom "
            "a row"
        )
    if signals.dtype != dictionary.dtype or signals.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"expected signals and dictionary both float32 or both float64, got {signals.dtype} "
            f"and {dictionary.dtype}; convert with .float()"
        )
    if torch.compiler.is_compiling():  # graph capture cannot branch on data
        return
    if not bool(dictionary.detach().isfinite().all()):
        raise ValueError("the dictionary holds NaN or infinite entries; remove them first")
    norms = dictionary.detach().norm(dim=1)
    if bool((norms == 0).any()):
        raise ValueError(
            f"{int((norms == 0).sum())} of {len(norms)} atoms are zero; replace them, for "
            "instance by signals drawn from the data"
        )
    if unit_norm and bool(((norms - 1).abs() > _UNIT_TOLERANCE).any()):
        raise ValueError(
            f"expected atoms of norm 1, got norms from {norms.min():.3g} to {norms.max():.3g}; "
            "normalise with torch.nn.functional.normalize(dictionary, dim=1)"
        )


def check_finite(objective: Tensor) -> None:
    """Refuses signals that are not finite, by one number each: cheaper than every entry before."""
    if torch.compiler.is_compiling() or bool(objective.isfinite().all()):
        return
    bad = int((~objective.isfinite()).sum())
    raise ValueError(
        f"{bad} of {len(objective)} signals hold NaN or infinite entries; remove them first"
    )


def check_count(k: int, size: int) -> None:
    """Refuses an impossible number of active atoms.

    Raises:
        ValueError: unless 1 <= k <= size.
    """
    if not 1 <= k <= size:
        raise ValueError(
            f"expected 1 <= k <= {size} (the number of atoms), got k={k}; lower k or enlarge the "
            "dictionary"
        )
