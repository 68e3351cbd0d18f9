"""The demo end to end, shortened: four trained latents and one page that stands alone."""

import json
import re

import pytest
import torch

from narrows.cli.main import main
from narrows.compare.demo import LATENTS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("demo") / "out"
    threads = torch.get_num_threads()
    assert main(["demo", "--out", str(path), "--epochs", "10"]) == 0
    assert torch.get_num_threads() == threads
    return path


def test_every_latent_has_a_finished_run_with_a_rate(folder):
    for name in LATENTS:
        figures = json.loads((folder / name / "metrics.json").read_text())
        assert figures["examples"]["test"] == 360
        assert figures["test"]["bits_per_example"] > 0
        assert figures["test"]["nmse"] < 0.5136  # of the mean image on this split
    assert not list(folder.rglob("*.partial*"))


def test_the_page_stands_alone(folder):
    page = (folder / "report.html").read_text()
    assert len(page) < 5_000_000
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page), "no outside requests"
    assert page.count("<script") == 1  # its own
    for name in LATENTS:
        assert name in page


def test_the_page_has_every_part_that_is_promised(folder):
    page = (folder / "report.html").read_text()
    headings = re.findall(r"<h2[^>]*>([^<]*)</h2>", page)
    assert {
        "Figures on the test split", "Distortion against bits", "Reconstructions", "Samples",
        "Training", "Codes by class", "Commands and versions",
    } <= set(headings)  # fmt: skip
    assert "narrows demo --out" in page


def test_a_second_demo_in_the_same_folder_is_refused(folder, capsys):
    before = (folder / "report.html").read_bytes()
    assert main(["demo", "--out", str(folder)]) == 1
    assert "never overwrite" in capsys.readouterr().err
    assert (folder / "report.html").read_bytes() == before


@pytest.mark.slow
def test_at_full_length_vq_uses_its_codes_and_beats_the_mean_image_tenfold(tmp_path):
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 0
    figures = json.loads((tmp_path / "demo" / "vq" / "metrics.json").read_text())["test"]
    assert figures["usage"] >= 0.5
    assert figures["nmse"] <= 0.5136 / 10
