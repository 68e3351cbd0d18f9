"""Rows of figures as CSV, and as Parquet where pyarrow is installed."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from narrows.saving.writing import write_bytes, write_text


def write(rows: Sequence[Mapping[str, object]], folder: Path) -> None:
    """Writes `results.csv` and `results.parquet`: a column for every name, empty where missing."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / "results.csv", text.getvalue())
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return
    columns = {name: _column([row.get(name) for row in rows]) for name in names}
    content = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), content)
    write_bytes(folder / "results.parquet", content.getvalue())


def _column(values: Sequence[object]) -> Sequence[object]:
    """Values of one type: words where any is one, else numbers as floats."""
    given = [value for value in values if value is not None]
    if any(isinstance(value, str) for value in given):
        return [None if value is None else str(value) for value in values]
    if all(isinstance(value, (int, float)) for value in given):
        return [float(value) if isinstance(value, (int, float)) else None for value in values]
    return values
