"""Tables on disk, CSV or parquet, one row an item."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from narrows.saving.writing import whole

SUFFIXES = (".csv", ".parquet")


def write_table(path: str | Path, columns: Mapping[str, Sequence[object]]) -> None:
    """Writes columns of equal length, whole or not at all; the suffix says how.

    Args:
        path: that ends in `.csv` or `.parquet`; a folder that is not there is made.
        columns: values by name; of parquet also NumPy arrays.

    Raises:
        ValueError: for another suffix, or columns that differ in length.
        ImportError: for parquet without pyarrow.
    """
    target = Path(path)
    check_suffix(target)
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"expected columns of one length, got {lengths}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole(target) as partial:
        if target.suffix == ".csv":
            with partial.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(columns)
                writer.writerows(zip(*columns.values(), strict=True))
        else:
            _write_parquet(partial, columns)


def check_suffix(path: Path) -> None:
    """Refuses a table that could not be written, before work begins."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f"expected a table {' or '.join(SUFFIXES)}, got {str(path)!r}")


def _write_parquet(path: Path, columns: Mapping[str, Sequence[object]]) -> None:
    try:
        from pyarrow import parquet, table
    except ImportError as error:
        raise ImportError(
            "parquet needs pyarrow: pip install 'narrows[parquet]', or write .csv"
        ) from error
    parquet.write_table(table(dict(columns)), path)
