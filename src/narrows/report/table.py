"""Tables of results: units, intervals, and which is best."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from narrows.report.blocks import Block

Cell = float | int | str | tuple[float, float] | None
"""A number, a text, (mean, half width of the interval), or None where nothing is defined."""


@dataclass(frozen=True)
class Column:
    """One quantity.

    Attributes:
        name: of the quantity.
        unit: shown under the name; "" for a count or a ratio.
        best: which extreme to mark, if that means anything.
        digits: significant digits.
    """

    name: str
    unit: str = ""
    best: Literal["lowest", "highest"] | None = None
    digits: int = 3

    @property
    def title(self) -> str:
        """The name with its unit."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name


@dataclass(frozen=True)
class Table(Block):
    """One row per model, one column per quantity.

    Attributes:
        caption: what the table shows, and on which data.
        columns: key in a row -> the column.
        rows: row label -> key -> cell; a missing key is an undefined cell.
        corner: heading of the row labels.
        links: row label -> relative address of a page about it.
    """

    caption: str
    columns: Mapping[str, Column]
    rows: Mapping[str, Mapping[str, Cell]]
    corner: str = "model"
    links: Mapping[str, str] = field(default_factory=dict)

    shown_as = "table"

    @classmethod
    def of(
        cls,
        caption: str,
        known: Mapping[str, Column],
        *,
        rows: Mapping[str, Mapping[str, Cell]],
        corner: str = "model",
    ) -> Self:
        """A table of the known columns that some row has; other cells are left out."""
        columns = {k: c for k, c in known.items() if any(k in row for row in rows.values())}
        kept = {name: {k: row[k] for k in columns if k in row} for name, row in rows.items()}
        return cls(caption, columns, kept, corner)

    def linked(self, links: Mapping[str, str]) -> Self:
        """The table with these links."""
        return replace(self, links=links)

    def text(self) -> str:
        """The table in plain characters, for a terminal."""
        head = [self.corner, *(column.title for column in self.columns.values())]
        lines = [
            [label, *(format_cell(row.get(k), c.digits) for k, c in self.columns.items())]
            for label, row in self.rows.items()
        ]
        widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]
        return "\n".join(
            "  ".join(
                word.ljust(width) if i == 0 else word.rjust(width)
                for i, (word, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in [head, *lines]
        )

    @property
    def note(self) -> str:
        """What the second number of a cell is, where there is one."""
        cells = [cell for row in self.rows.values() for cell in row.values()]
        two = any("±" in format_cell(cell) for cell in cells)
        return "±: half width of the 95 % t interval over seeds." if two else ""

    @property
    def marks(self) -> set[tuple[str, str]]:
        """Row and column of the cells whose interval lies on the better side of all others'."""
        found: set[tuple[str, str]] = set()
        for key, column in self.columns.items():
            ends = {name: _ends(row.get(key), column.best) for name, row in self.rows.items()}
            known = {name: pair for name, pair in ends.items() if pair is not None}
            for name, (lower, _) in known.items():
                others = [upper for other, (_, upper) in known.items() if other != name]
                if isinstance(self.rows[name][key], tuple) and others and lower > max(others):
                    found.add((name, key))
        return found

    def kind(self, key: str) -> str:
        """Words align left, numbers right."""
        return "words" if any(isinstance(r.get(key), str) for r in self.rows.values()) else "number"


def format_cell(cell: Cell, digits: int = 3) -> str:
    """A cell as text: `digits` significant digits, an interval's width to the same place."""
    if cell is None:
        return "–"
    if isinstance(cell, str):
        return cell
    if isinstance(cell, tuple):
        mean, half = cell
        if not (math.isfinite(mean) and math.isfinite(half)):
            return f"{mean:.{digits}g} ± {half:.{digits}g}"
        places = max(0, digits - 1 - _magnitude(half if half > 0 else mean) - 1)
        return f"{mean:.{places}f} ± {half:.{places}f}"
    if isinstance(cell, int):
        return f"{cell:,}"
    if not math.isfinite(cell) or cell == 0:
        return f"{cell:g}"
    magnitude = _magnitude(cell)
    if -4 <= magnitude < 6:
        return f"{cell:,.{max(0, digits - 1 - magnitude)}f}"
    return f"{cell:.{digits - 1}e}"


def _magnitude(value: float) -> int:
    return math.floor(math.log10(abs(value))) if value else 0


def _ends(cell: Cell, best: str | None) -> tuple[float, float] | None:
    """The worse and the better end of a cell's interval, the larger the better; None without."""
    mean, half = cell if isinstance(cell, tuple) else (cell, 0.0)
    if best is None or not isinstance(mean, (int, float)) or not math.isfinite(mean):
        return None
    score = mean if best == "highest" else -mean
    half = half if math.isfinite(half) else math.inf  # one value of several seeds: may be any
    return score - half, score + half
