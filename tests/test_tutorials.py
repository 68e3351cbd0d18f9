"""The tutorials are lessons that run: alone, from an empty folder, without a warning."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import narrows as nw

ROOT = Path(__file__).parent.parent
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.py"))
NAMES = ["autoencoders", "bits", "sparse_codes", "variational_codes", "vector_quantisation"]
FIGURES = ("labelled", "curves", "grid", "scatter", "rate_distortion")
each = pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)


def cells(path: Path) -> list[tuple[str, str]]:
    """Kind ("" for code) and text of each cell of a notebook in percent format."""
    parts = re.split(r"^# %%(.*)\n", path.read_text(), flags=re.MULTILINE)
    assert not parts[0], "text before the first cell"
    return [(kind.strip(), text) for kind, text in zip(parts[1::2], parts[2::2], strict=True)]


def prose(path: Path) -> str:
    """The Markdown of a tutorial, its lines without the comment sign."""
    texts = [text for kind, text in cells(path) if kind == "[markdown]"]
    return "\n".join(re.sub("^# ?", "", line) for text in texts for line in text.splitlines())


def programs(path: Path) -> list[str]:
    """The tutorial's code and that of its solutions."""
    return [path.read_text(), *re.findall(r"```python\n(.*?)```", prose(path), re.DOTALL)]


def test_each_world_has_its_tutorial():
    assert [path.stem for path in TUTORIALS] == NAMES


@each
def test_a_tutorial_is_whole(path):
    assert {kind for kind, _ in cells(path)} == {"", "[markdown]"}
    for kind, text in cells(path):
        if kind:  # Markdown is comments, so that the file is a program, too
            assert all(not line or line.startswith("#") for line in text.splitlines())
    text = prose(path)
    assert text.startswith("# ")
    exercises = re.findall(r"^\d\. ", text.partition("## Exercises")[2], re.MULTILINE)
    assert len(exercises) >= 2
    for number in range(1, len(exercises) + 1):
        assert text.count(f"<details><summary>Solution {number}</summary>") == 1
    assert text.count("<details>") == text.count("</details>") == len(exercises)
    assert text.count("$") % 2 == 0
    assert 2 <= sum(path.read_text().count(f"\nnw.report.{name}(") for name in FIGURES) <= 4


@each
def test_what_a_tutorial_names_of_the_package_is_there(path):
    for program in programs(path):
        for node in ast.walk(ast.parse(program)):
            if isinstance(node, ast.Attribute):
                dotted = ast.unparse(node)
                if re.fullmatch(r"nw(\.\w+)+", dotted):
                    found = nw
                    for name in dotted.split(".")[1:]:
                        found = getattr(found, name)


@pytest.mark.slow
@each
def test_a_tutorial_and_its_solutions_run_alone(path, tmp_path):
    script = tmp_path / "lesson.py"
    script.write_text("\n".join(programs(path)))
    empty = tmp_path / "empty"
    empty.mkdir()
    ran = subprocess.run(
        [sys.executable, "-W", "error", script],
        cwd=empty,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert not list(empty.iterdir())
