"""What a sparse dictionary refuses, and what it warns of."""

import warnings

import torch
from torch import Tensor

from narrows.bottlenecks.sparse_code import SparseCode
from narrows.latent import Code

_OVERCOUNTS = (
    "{}(refit=False) counts what alike atoms have in common once for each; behind a "
    "straight-through gradient features can then grow without bound. Pass refit=True, or "
    "gradient='implicit'"
)


def check_choices(layout: str, shape: tuple[int, ...], gradient: str, commitment: float) -> None:
    """Refuses arguments of `SparseDictionary` that are none.

    Raises:
        ValueError: naming what was expected.
    """
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


def check_code(code: SparseCode, target_l0: float | None, gradient: str) -> None:
    """Refuses what is no sparse code, or cannot be steered; warns of one that may diverge.

    Raises:
        TypeError: if the code does not fit.
        ValueError: if the target is not positive.
    """
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
    if code.overcounts and gradient == "straight_through":
        warnings.warn(_OVERCOUNTS.format(type(code).__name__), UserWarning, stacklevel=4)


def check_stored(code: Code, size: int) -> tuple[Tensor, Tensor]:
    """Refuses what is no code over `size` atoms; returns its atoms and values.

    Raises:
        ValueError: if shapes, dtypes or atoms are not those of a code.
    """
    if not isinstance(code, tuple) or len(code) != 2 or code[0].shape != code[1].shape:
        raise ValueError(
            "SparseDictionary: expected a code (atoms, values) of two tensors of the same "
            "shape [batch, *sites, width]"
        )
    atoms, values = code
    if atoms.is_floating_point() or not values.is_floating_point():
        raise ValueError(
            f"SparseDictionary: expected integer atoms and floating values, got "
            f"{atoms.dtype} and {values.dtype}"
        )
    if torch.compiler.is_compiling() or not atoms.numel():
        return atoms, values
    least, most = int(atoms.min()), int(atoms.max())
    if not 0 <= least <= most < size:
        raise ValueError(
            f"SparseDictionary: expected atoms in 0..{size - 1}, got {least}..{most}; was the code "
            "made by another bottleneck?"
        )
    return atoms, values
