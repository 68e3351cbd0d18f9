"""The figures of the structure are what they say, on a package of two files."""

import pytest

from tools import structure

LONG = "\n".join(["def long(a):", '    """Doc."""', *["    a += 1"] * 40])
WIDE = """
from dataclasses import dataclass
from typing import Any

class Wide:
    def __init__(self, a, b, c, d, *, e, f, g, h): ...

@dataclass
class Fields:
    a: int
    b: int
    c: int
    d: int
    e: int
    f: int
    g: int
    h: int

def use(model: Any, data: "list[Any]", other: Any):
    del other
    return isinstance(model, (tuple, list))
"""


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "long.py").write_text(LONG)
    (tmp_path / "wide.py").write_text(WIDE)
    return structure.Tree(tmp_path)


@pytest.mark.parametrize(
    ("measure", "value"),
    [
        (structure.lines, 42 + 21),
        (structure.median_lines, 31.5),
        (structure.fullest_folder, 3),
        (structure.long_functions, 1),
        (structure.wide_constructors, 2),
        (structure.unused_arguments, 1),
        (structure.any_for_parts, 2),
        (structure.tuple_checks, 1),
    ],
)
def test_a_figure_counts_what_it_names(tree, measure, value):
    assert measure(tree) == value


def test_a_row_holds_within_its_bound():
    below = structure.Row("", 0, "<= 26,500", structure.lines)
    between = structure.Row("", 0, "120 to 220", structure.lines)
    assert [below.holds(value) for value in (0, 26_500, 26_501)] == [True, True, False]
    assert [between.holds(value) for value in (119, 120, 220, 221)] == [False, True, True, False]


def test_the_table_fails_only_when_asked_to_check(monkeypatch, capsys):
    never = structure.Row("lines", 0, "<= 0", structure.lines, starred=True)
    monkeypatch.setattr(structure, "ROWS", [never])
    monkeypatch.setattr("sys.argv", ["structure.py"])
    assert structure.main() == 0
    monkeypatch.setattr("sys.argv", ["structure.py", "--check"])
    assert structure.main() == 1
    assert "MISSED" in capsys.readouterr().out
