"""Tables say units, intervals and what is best."""

import pytest

from narrows.report import Column, Page, Section, Table
from narrows.report.table import format_cell


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (0.052345, "0.0523"),
        (21.46, "21.5"),
        (13234.4, "13,234"),
        (1.234e-7, "1.23e-07"),
        (0.0, "0"),
        (float("inf"), "inf"),
        (1234567, "1,234,567"),
        ((0.05234, 0.00412), "0.0523 ± 0.0041"),
        ((21.456, 1.2), "21.5 ± 1.2"),
        ((310.2, 25.1), "310 ± 25"),
        (None, "–"),
        ("all", "all"),
    ],
)
def test_cells_keep_three_digits_and_an_interval_sets_the_place(cell, text):
    assert format_cell(cell) == text


def as_html(table):
    return Page("", [], [Section("", [table])]).html()


def example():
    return Table(
        "Digits <test>.",
        {
            "mse": Column("NMSE", best="lowest"),
            "psnr": Column("PSNR", "dB", best="highest"),
            "rate": Column("rate", "bits per example"),
            "note": Column("note"),
        },
        {
            "ae": {"mse": 0.1, "psnr": 20.0, "note": "a & b"},
            "vq": {"mse": (0.05, 0.01), "psnr": float("nan"), "rate": 24.0},
        },
    )


def test_the_best_is_marked_only_where_best_means_something():
    html = as_html(example())
    assert "<strong>0.050 ± 0.010</strong>" in html
    assert "<strong>20.0</strong>" not in html  # nothing to compare it with
    assert "<strong>24.0</strong>" not in html
    assert "Bold: best" in html
    assert "95 % t interval" in html


def test_only_an_interval_apart_from_all_others_is_best():
    column = {"a": Column("a", best="lowest")}

    def marked(**rows):
        cells = {name: {"a": value} for name, value in rows.items()}
        return as_html(Table("t", column, cells)).count("<strong>")

    assert marked(x=(1.0, 0.2), y=(2.0, 0.7)) == 1
    assert marked(x=(1.0, 0.2), y=(2.0, 0.9)) == 0, "the intervals overlap"
    assert marked(x=1.0, y=2.0) == 0, "one seed says nothing of chance"
    assert marked(x=(1.0, 0.1), y=(1.0, 0.1), z=(2.0, 0.1)) == 0, "two are equally good"
    assert marked(x=(1.0, 0.2), y=(0.5, float("nan")), z=(2.0, 0.2)) == 0, "y may be the best"


def test_units_stand_in_the_head_and_text_is_escaped():
    html = as_html(example())
    assert '<span class="unit">bits per example</span>' in html
    assert "Digits &lt;test&gt;." in html
    assert "a &amp; b" in html
    assert 'aria-label="not defined"' in html


def test_a_terminal_gets_the_same_table_in_columns():
    lines = example().text().splitlines()
    assert lines[0].split("  ")[0] == "model"
    assert "rate [bits per example]" in lines[0]
    assert lines[2].split() == ["vq", "0.050", "±", "0.010", "nan", "24.0", "–"]
