"""What a sparse code says about itself: totals of a batch, measures of a set, and advice."""

from collections.abc import Mapping

import torch
from torch import Tensor


def code_stats(atoms: Tensor, values: Tensor, size: int) -> dict[str, Tensor]:
    """Totals over a batch of codes: uses of each atom, active entries, and signals.

    Args:
        atoms: `[n, width]`.
        values: `[n, width]`; 0 marks what is not active.
        size: number of atoms K.
    """
    active = (values.detach() != 0).flatten().to(values.dtype)
    return {
        "atom_counts": active.new_zeros(size).index_add(0, atoms.flatten(), active),
        "l0_sum": active.sum(),
        "coded_sites": active.new_full((), atoms.shape[0]),
    }


def code_measures(totals: Mapping[str, Tensor], size: int) -> dict[str, float]:
    """Mean active atoms a site, share and number of atoms used, and fit of the features.

    Args:
        totals: `code_stats` summed over a set, with `residual_sum` and `energy_sum`, the squared
            norms of what the codes leave over and of the signals.
        size: number of atoms K.
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


def code_advice(measures: Mapping[str, float], size: int, target_l0: float | None) -> list[str]:
    """What to try where atoms lie idle, or the code is not sparse or not on target."""
    lines = []
    l0, used = measures["l0"], measures["atoms_used"]
    if used < 0.5:
        lines.append(
            f"only {used:.0%} of {size} atoms are used: call update() every step (it revives dead "
            "atoms), use fewer atoms, or lower the learning rate"
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
    return lines
