"""Rows of figures as a Parquet file, where pyarrow is installed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_parquet(rows: Sequence[Mapping[str, Any]], path: Path) -> Path | None:
    """Writes rows with one column for every name; a missing value is null.

    Returns:
        The path, or None where pyarrow is not installed and nothing was written.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return None
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: _column([row.get(name) for row in rows]) for name in names}
    partial = path.with_name(f".{path.name}.partial")
    parquet.write_table(pyarrow.table(columns), partial)
    partial.replace(path)
    return path


def _column(values: Sequence[Any]) -> Sequence[Any]:
    """Values of one type: numbers as floats where some are, words where any is one."""
    given = [value for value in values if value is not None]
    if any(isinstance(value, str) for value in given):
        return [None if value is None else str(value) for value in values]
    if any(isinstance(value, float) for value in given):
        return [None if value is None else float(value) for value in values]
    return values
