"""A comparison that several processes share: each makes a part of the runs, one makes the page."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from narrows.saving.writing import sole_writer

FOLDER = "parts"
"""Of the parts' locks, below the comparison's."""
_PATIENCE = 5.0  # seconds, while other parts look whether anybody has the whole

Item = TypeVar("Item")


@dataclass(frozen=True)
class Part:
    """One of several parts of a list: every `count`-th element, from element `number` on.

    Attributes:
        number: from 1.
        count: of all parts.

    Example:
        >>> [Part(number, 2).of("abcde") for number in (1, 2)]
        [['a', 'c', 'e'], ['b', 'd']]
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ValueError(f"expected a part I/N with I from 1 to N, got {self}")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, items: Sequence[Item]) -> list[Item]:
        """The elements of this part."""
        return list(items[self.number - 1 :: self.count])


@contextlib.contextmanager
def sharing(out: Path, part: Part | None) -> Iterator[None]:
    """Holds one part of a comparison's folder, or all of it; the two exclude each other.

    Raises:
        FolderInUseError: if another process has this part, or the whole where a part is asked
            for, or any part where the whole is.
    """
    if part is None:
        with sole_writer(out):
            for folder in sorted((out / FOLDER).glob("*-of-*")):
                with sole_writer(folder):
                    pass
            yield
        return
    with sole_writer(out / FOLDER / f"{part.number}-of-{part.count}"):
        with sole_writer(out, patience=_PATIENCE):
            pass
        yield
