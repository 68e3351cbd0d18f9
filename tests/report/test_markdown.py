"""The same page as Markdown with files."""

import re

import numpy as np
import pytest
from PIL import Image

from narrows import report


@pytest.fixture
def written(tmp_path):
    random = np.random.default_rng(0)
    rows = {
        "originals": random.random((4, 1, 8, 8)),
        "a model with a rather long name": random.random((4, 1, 8, 8)),
    }
    table = report.Table(
        "Test split",
        {"nmse": report.Column("NMSE", "a | b", best="lowest")},
        {"vq_ema": {"nmse": 0.1}},
    )
    plot = report.curves({"a": ([1, 2], [1.0, 0.5])}, quantity="loss")
    sections = [
        report.Section("Figures & more", ["A *paragraph*.", table, plot, plot]),
        report.Section("Rows", [report.Gallery([report.grid(rows["originals"], what="tiles")]),
                                report.strips(rows, caption="Look at both.")]),
    ]  # fmt: skip
    return report.Page(
        "T", ["First.", "Second."], sections,
        warnings=["one_run failed"], commands=["narrows compare ae"], versions={"narrows": "1"},
    ).write(tmp_path / "report.md")  # fmt: skip


def test_every_picture_is_a_file_and_every_file_is_shown(written):
    text = written.read_text()
    shown = re.findall(r"\]\((figures/[^)]+)\)", text)
    assert len(shown) == len(set(shown)) == 4
    assert {f"figures/{p.name}" for p in (written.parent / "figures").iterdir()} == set(shown)
    assert all(re.search(rf"!\[[^\]]{{6,}}\]\({name}\)", text) for name in shown)


def test_the_answer_comes_first_and_the_commands_are_there(written):
    text = written.read_text()
    order = [text.index(part) for part in ("# T", "First.", "one\\_run failed", "## Figures")]
    assert order == sorted(order)
    assert "    narrows compare ae" in text


def test_tables_have_one_cell_a_column_whatever_is_in_them(written):
    lines = [line for line in written.read_text().splitlines() if line.startswith("|")]
    assert lines[0] == "| model | NMSE \\[a \\| b\\] |"
    assert lines[2] == "| vq\\_ema | 0.100 |"
    assert "A \\*paragraph\\*." in written.read_text()


def test_strips_become_one_picture_with_their_labels_written_in_it(written):
    with Image.open(written.parent / "figures" / "rows-2.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    assert pixels.shape[1] == 160 + 2 * (4 * 32 + 3 * 4)
    labels = pixels[:, :160]
    assert (labels < 100).any(), "labels are dark on white"
    assert labels.mean() > 200


def test_an_unknown_block_is_refused(tmp_path):
    class Odd(report.Block):
        pass

    with pytest.raises(TypeError, match="no Markdown for Odd"):
        report.Page("t", ["a"], [report.Section("s", [Odd()])]).write(tmp_path / "r.md")
