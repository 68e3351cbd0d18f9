"""Tables of results: units, intervals, and which is best."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

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


@dataclass(frozen=True)
class Table(Block):
    """One row per model, one column per quantity.

    Attributes:
        caption: what the table shows, and on which data.
        columns: key in a row -> the column.
        rows: row label -> key -> cell; a missing key is an undefined cell.
        corner: heading of the row labels.
    """

    caption: str
    columns: Mapping[str, Column]
    rows: Mapping[str, Mapping[str, Cell]]
    corner: str = "model"

    def html(self) -> str:
        """A table with a caption, scoped headings and a keyboard-scrollable frame."""
        best = {key: self._best(key) for key in self.columns}
        head = "".join(_heading(self.columns[key], self._kind(key)) for key in self.columns)
        body = "".join(
            f'<tr><th scope="row">{escape(label)}</th>'
            + "".join(
                _cell(row.get(key), column.digits, self._kind(key), label in best[key])
                for key, column in self.columns.items()
            )
            + "</tr>"
            for label, row in self.rows.items()
        )
        note = "Bold: best in its column. " if any(best.values()) else ""
        return (
            f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(self.caption)}">'
            f"<table><caption>{escape(self.caption)} {note}{self.note()}</caption>"
            f'<thead><tr><th scope="col">{escape(self.corner)}</th>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>"
        )

    def text(self) -> str:
        """The table in plain characters, for a terminal."""
        head = [self.corner, *(_title(column) for column in self.columns.values())]
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

    def note(self) -> str:
        """What the second number of a cell is, where there is one."""
        cells = [cell for row in self.rows.values() for cell in row.values()]
        two = any(isinstance(cell, tuple) for cell in cells)
        return "±: half width of the 95 % t interval over seeds." if two else ""

    def _kind(self, key: str) -> str:
        """Words align left, numbers right."""
        return "words" if any(isinstance(r.get(key), str) for r in self.rows.values()) else "number"

    def _best(self, key: str) -> Sequence[str]:
        """Labels of the rows that hold the best value; none where there is nothing to choose."""
        wanted = self.columns[key].best
        values = {label: _value(row.get(key)) for label, row in self.rows.items()}
        defined = {label: value for label, value in values.items() if value is not None}
        if wanted is None or len(set(defined.values())) < 2:
            return []
        extreme = (min if wanted == "lowest" else max)(defined.values())
        return [label for label, value in defined.items() if value == extreme]


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


def _value(cell: Cell) -> float | None:
    if isinstance(cell, tuple):
        cell = cell[0]
    return cell if isinstance(cell, (int, float)) and math.isfinite(cell) else None


def _title(column: Column) -> str:
    return f"{column.name} [{column.unit}]" if column.unit else column.name


def _heading(column: Column, kind: str) -> str:
    unit = f'<span class="unit">{escape(column.unit)}</span>' if column.unit else ""
    return f'<th scope="col" class="{kind}">{escape(column.name)}{unit}</th>'


def _cell(cell: Cell, digits: int, kind: str, best: bool) -> str:
    text = escape(format_cell(cell, digits))
    if cell is None:
        text = '<span role="img" aria-label="not defined">–</span>'
    return f'<td class="{kind}">{f"<strong>{text}</strong>" if best else text}</td>'
