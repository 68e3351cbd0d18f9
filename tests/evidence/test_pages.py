"""Every figure of the docs comes from the ledger, and the repository stays small."""

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from evidence import FOLDER, append, benchmarks, claims, read
from evidence.__main__ import IMAGES, PLOTS, on_paper
from evidence.pages import ROOT, filled, pages
from tools.structure import ZOO

MOST_BYTES, MOST_PICTURES = 4_450_000, 35  # 4 MB before explorer, site, shards and clusters
MOST_OF_ZOO = 2_000_000  # weights of trained models, beside that
SUFFIXES = {".png", ".svg", ".jpg", ".gif"}


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("page", list(pages()), ids=lambda page: page.stem)
def test_a_page_holds_what_the_ledger_says(page):
    assert filled(page.read_text()) == page.read_text(), "run `make results`"


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_can_be_drawn_and_is_in_the_repository(name):
    assert b"<svg" in on_paper(PLOTS[name]().data)
    assert (IMAGES / f"{name}.svg").is_file()


def test_every_page_of_results_is_made_from_the_ledger():
    found = {page.name for page in (ROOT / "docs" / "results").glob("*.md")}
    assert not found - {page.name for page in pages()}


def test_a_line_of_the_ledger_changes_the_number_of_a_page(tmp_path, monkeypatch):
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    before = benchmarks.table("codec")
    (run, *_) = [r for r in read("benchmarks") if r.configuration["benchmark"] == "codec"]
    append("benchmarks", dataclasses.replace(run, figures={"images/s": 12345}), tmp_path)
    monkeypatch.setattr(benchmarks, "read", lambda kind, _folder: read(kind, tmp_path))
    after = benchmarks.table("codec")
    assert "12,345" in after
    assert "12,345" not in before
    assert len(after.splitlines()) == len(before.splitlines())


def test_a_verdict_follows_from_the_ledger_by_rule(monkeypatch):
    claim = next(c for c in claims.CLAIMS if c.name == "vae-not-better")
    run = claims.find(claim).run
    assert run is not None
    (quantity,) = run.figures["estimates"]
    other = {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 5}
    changed = dataclasses.replace(run, figures={**run.figures, "estimates": {quantity: other}})
    assert claims.Judged(claim, run).verdicts() == ["supported"]
    assert claims.Judged(claim, changed).verdicts() == ["contradicted"]
    assert claims.Judged(claim, None).verdicts() == ["not run"]


def test_a_marker_that_names_no_function_is_refused():
    with pytest.raises(ValueError, match="there is no function for"):
        filled("<!-- evidence: benchmarks.nothing --><!-- end -->")


def test_inline_markers_stand_within_a_line():
    """A line that begins with a comment is raw HTML to Markdown."""
    for page in pages():
        assert not re.search(r"^\s*<!-- evidence:.*<!-- end -->", page.read_text(), re.MULTILINE)


def test_the_repository_is_small():
    sizes = {path.relative_to(ROOT).as_posix(): path.stat().st_size for path in tracked()}
    zoo = sum(size for name, size in sizes.items() if name.startswith(ZOO))
    assert zoo <= MOST_OF_ZOO
    assert sum(sizes.values()) - zoo <= MOST_BYTES


def test_every_picture_of_the_repository_stands_on_a_page():
    pictures = [path for path in tracked() if path.suffix in SUFFIXES]
    texts = {page: page.read_text() for page in tracked() if page.suffix == ".md"}
    shown = {
        (page.parent / target).resolve()
        for page, text in texts.items()
        for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    }
    assert len(pictures) <= MOST_PICTURES
    assert {path for path in pictures if path.resolve() not in shown} == set()
