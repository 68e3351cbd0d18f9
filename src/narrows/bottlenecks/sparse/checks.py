"""What a sparse dictionary refuses, counts and advises."""

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor

from narrows.bottlenecks.sparse.coder import Coder

_OVERCOUNTS = (
    "With {}(refit=False) correlated atoms double-count their shared component; behind a "
    "straight-through gradient features can then grow without bound. Pass refit=True, or "
    "gradient='implicit'"
)


def check_choices(gradient: str, commitment: float) -> None:
    """Checks the arguments of `SparseDictionary` that name a choice or a weight."""
    if gradient not in ("straight_through", "implicit"):
        raise ValueError(f"expected gradient 'straight_through' or 'implicit', got {gradient!r}")
    if not commitment >= 0:
        raise ValueError(f"expected commitment >= 0, got {commitment}")


def check_coder(coder: Coder, target_l0: float | None, gradient: str) -> None:
    """Checks that the coder can be steered; warns of one that may diverge."""
    if target_l0 is not None and not coder.controllable:
        raise TypeError(
            f"target_l0 steers a penalty, and {type(coder).__name__} has none: its k fixes L0; "
            "drop target_l0 or use Lasso(...)"
        )
    if target_l0 is not None and not target_l0 > 0:
        raise ValueError(f"expected target_l0 > 0, got {target_l0}")
    if coder.overcounts and gradient == "straight_through":
        warnings.warn(_OVERCOUNTS.format(type(coder).__name__), UserWarning, stacklevel=4)


def code_stats(atoms: Tensor, values: Tensor, size: int) -> dict[str, Tensor]:
    """Totals over codes `[n, width]`: uses of each of the K atoms, active entries, and signals."""
    active = (values.detach() != 0).flatten().to(values.dtype)
    return {
        "atom_counts": active.new_zeros(size).index_add(0, atoms.flatten(), active),
        "l0_sum": active.sum(),
        "coded_sites": active.new_full((), atoms.shape[0]),
    }


def code_measures(totals: Mapping[str, Tensor], size: int) -> dict[str, float]:
    """Mean active atoms a site, share and number of atoms used, and fit of the features.

    Totals are those of `code_stats` over a set, with `residual_sum` and `energy_sum`, the squared
    norms of what the codes leave over and of the signals.
    """
    sites = max(float(totals["coded_sites"]), 1.0)
    unused = int((totals["atom_counts"] == 0).sum())
    energy = max(float(totals["energy_sum"]), torch.finfo(torch.float64).tiny)
    return {
        "l0": float(totals["l0_sum"]) / sites,
        "atoms_used": 1 - unused / size,
        "dead_atoms": float(unused),
        "feature_nmse": float(totals["residual_sum"]) / energy,
    }


def code_advice(
    measures: Mapping[str, float], size: int, *, target_l0: float | None, coder: Coder
) -> list[str]:
    """What to try where atoms lie idle, or the code is not sparse or not as sparse as asked."""
    lines = []
    l0, used = measures["l0"], measures["atoms_used"]
    if used < 0.5:
        lines.append(
            f"only {used:.0%} of {size} atoms are used: use fewer atoms, train longer (atoms that "
            "lie idle are revived), or lower the learning rate"
        )
    if l0 > size / 4:
        lines.append(
            f"{l0:.1f} of {size} atoms are active: this code is not sparse; lower k or raise the "
            "penalty"
        )
    if target_l0 is not None and abs(l0 - target_l0) > 0.05 * target_l0:
        lines.append(
            f"L0 is {l0:.2f} for a target of {target_l0:g}: train longer, so that the controller "
            "can settle"
        )
    k = coder.l0
    if coder.by_threshold and k is not None and abs(l0 - k) > 0.1 * k:
        lines.append(
            f"L0 in use is {l0:.2f} for {type(coder).__name__}(k={k:g}): the running threshold has "
            "not settled, or these data differ from the training data. Train longer, lower the "
            "learning rate towards the end, or use TopK, which keeps k of every signal"
        )
    return lines
