"""Which rows of activations are left out of training, by a stated rule."""

from dataclasses import dataclass

import torch
from torch import Tensor

LARGEST = 10.0
"""Norms over this many times the median are massive activations."""
_NAMED = 8


@dataclass(frozen=True)
class LeftOut:
    """Masks `[rows]` of what is left out; a row is in one of them at most.

    Attributes:
        not_finite: rows with NaN or an infinite value.
        first: rows at position 0.
        massive: rows with a norm over `largest` times the median.
        medians: norm of the rows that the rule compares with (finite, not left out as first); of
            pairs those of inputs and of targets.
    """

    not_finite: Tensor
    first: Tensor
    massive: Tensor
    medians: tuple[float, ...]

    @property
    def kept(self) -> Tensor:
        """Numbers of the rows that are not left out, `[n]` int64."""
        return (~(self.not_finite | self.first | self.massive)).nonzero()[:, 0]

    def counts(self) -> dict[str, int]:
        """How many rows each part of the rule leaves out."""
        parts = {"not_finite": self.not_finite, "first": self.first, "massive": self.massive}
        return {name: int(mask.sum()) for name, mask in parts.items()}

    def sentences(self, *, largest: float) -> list[str]:
        """What was left out, in words; broken rows by their numbers."""
        counts, said = self.counts(), []
        if counts["first"]:
            said.append(f"{counts['first']:,} rows at position 0")
        if counts["massive"]:
            medians = " and ".join(f"{median:.4g}" for median in self.medians)
            limit = f"{largest:g} times the median norm of {medians}"
            said.append(f"{counts['massive']:,} rows with a norm over {limit}")
        if counts["not_finite"]:
            rows = self.not_finite.nonzero()[:, 0].tolist()
            more = ", ..." if len(rows) > _NAMED else ""
            named = ", ".join(map(str, rows[:_NAMED])) + more
            said.append(f"{len(rows):,} rows with NaN or infinite values (row {named})")
        return said


def outliers(norms: Tensor, places: Tensor, *, largest: float, first: bool) -> LeftOut:
    """Applies the rule: not finite, at position 0 (if `first`), or over `largest` medians.

    The first token of a context and a few others have norms that are a hundred times those of all
    other rows; the squared error would be theirs alone.

    Args:
        norms: `[rows]`, or `[rows, 2]` of inputs and targets, of which one decides for both.
        places: `[rows]`, positions in their contexts.
        largest: times the median that a norm may be.
        first: whether position 0 is left out.

    Raises:
        ValueError: if `largest` is below 1.

    Source: Sun, Chen, Kolter & Liu (2024), "Massive Activations in Large Language Models"; the
        rule is ours.
    """
    if not largest >= 1:
        raise ValueError(f"expected a norm of at least 1 times the median, got {largest}")
    norms = norms[:, None] if norms.dim() == 1 else norms
    broken = ~norms.isfinite().all(1)
    begins = ~broken & (places == 0) if first else torch.zeros_like(broken)
    others = norms[~broken & ~begins]
    medians = others.median(0).values if len(others) else norms.new_zeros(norms.shape[1])
    massive = ~broken & ~begins & (norms > largest * medians).any(1)
    return LeftOut(broken, begins, massive, tuple(medians.tolist()))
