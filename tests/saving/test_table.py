"""Tables that other programs read."""

import csv

import numpy as np
import pytest
from pyarrow import parquet

from narrows.saving.table import write_table

COLUMNS = {"item": ['a, "quoted"', "b\nb", "ü"], "code_0": [3, 1, 2], "tie": [0, 0, 1]}


def test_a_csv_table_holds_names_with_commas_quotes_and_breaks(tmp_path):
    path = tmp_path / "made" / "codes.csv"
    write_table(path, COLUMNS)
    with path.open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    assert head == list(COLUMNS)
    assert rows == [
        [name, str(code), str(tie)] for name, code, tie in zip(*COLUMNS.values(), strict=True)
    ]


def test_a_parquet_table_has_the_columns_and_their_types(tmp_path):
    write_table(tmp_path / "codes.parquet", COLUMNS)
    read = parquet.read_table(tmp_path / "codes.parquet")
    assert read.to_pydict() == COLUMNS
    assert [str(field.type) for field in read.schema] == ["string", "int64", "int64"]


def test_wrong_tables_are_refused_and_leave_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"\.csv or \.parquet"):
        write_table(tmp_path / "codes.xlsx", COLUMNS)
    with pytest.raises(ValueError, match="one length"):
        write_table(tmp_path / "codes.csv", {**COLUMNS, "tie": np.zeros(2)})
    assert not list(tmp_path.iterdir())
