"""Parts written outside the package go wherever ours do, through the real commands.

The bottleneck, prior, likelihood and network are those of `examples`, copied to a user's folder
and named by class path. `train` and `compare` are processes of their own in that folder.
"""

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import narrows as nw
from narrows.cli.main import main

ROOT = Path(__file__).parents[1]
RECIPE = """\
# my own latent, network and likelihood
model:
  network: {class_path: mine.own_network.Patches, init_args: {side: 2, hidden: 16}}
  bottleneck: {class_path: mine.own_bottleneck.Ternary, init_args: {dim: 3}}
  likelihood: {class_path: mine.own_likelihood.Laplace, init_args: {scale: 0.2}}
data: digits
fit: {epochs: 8}
"""
CHAIN = "mine.own_prior.Chain"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's folder with their own parts, a recipe, a picture, and a finished run."""
    folder = tmp_path_factory.mktemp("user")
    shutil.copytree(ROOT / "examples", folder / "mine")
    (folder / "mine.yaml").write_text(RECIPE)
    (folder / "pictures").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (21, 13), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "pictures" / "a.png")
    process(folder, "train ./mine.yaml --out runs/mine")
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    """The user's folder as the current one."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    return folder


def process(folder: Path, command: str) -> None:
    """Runs `narrows COMMAND` as a process in a folder."""
    done = subprocess.run(
        [sys.executable, "-m", "narrows", *command.split()],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def narrows(command: str) -> int:
    """Runs `narrows COMMAND` in this process, in the current folder; returns its exit code."""
    return main([*command.split(), "--trust", "mine"])


def size(path: Path) -> tuple[int, int]:
    """Width and height of a picture."""
    with Image.open(path) as picture:
        return picture.size


def test_a_run_of_own_parts_is_made_again_from_its_folder(here):
    model = nw.Autoencoder.load(here / "runs" / "mine", trust=["mine"])
    parts = (model.bottleneck, model.network, model.likelihood)
    assert [type(part).__name__ for part in parts] == ["Ternary", "Patches", "Laplace"]
    x = torch.rand(3, 1, 8, 8)
    assert model.reconstruct(x).shape == x.shape


def test_evaluate(here, capsys):
    assert narrows("evaluate runs/mine") == 0
    assert "nmse" in capsys.readouterr().out.lower()


def test_prior_and_sample(here, capsys):
    assert narrows(f"prior runs/mine --kind {CHAIN}") == 0
    bits = float(capsys.readouterr().out.partition("Chain: ")[2].partition(" bits per")[0])
    assert 1 < bits < 16 * 3 * math.log2(3)
    assert narrows(f"sample runs/mine --prior {CHAIN} --n 4 --out drawn.png") == 0
    assert size(here / "drawn.png")[0] > 8


def test_compress_and_decompress(here, capsys):
    assert narrows(f"prior runs/mine --kind {CHAIN}") == 0
    assert narrows(f"compress runs/mine pictures --prior {CHAIN} --out packed") == 0
    assert narrows(f"decompress runs/mine packed --prior {CHAIN} --out back") == 0
    (back,) = (here / "back").rglob("*.png")
    assert size(back) == (13, 21)


def test_what_a_part_does_not_offer_is_refused_by_its_name(here, capsys):
    assert narrows("compress runs/mine pictures --lossless true --out exact") != 0
    assert "Laplace" in capsys.readouterr().err
    assert narrows("prior runs/mine --kind quantized") != 0
    assert "integer indices" in capsys.readouterr().err


def test_export(here, capsys):
    assert narrows("export runs/mine --format torch") == 0
    assert "refused" not in capsys.readouterr().out
    assert (here / "runs" / "mine" / "export" / "decoder.pt2").is_file()


@pytest.mark.parametrize("command", ["interpolate", "traverse", "mask", "denoise"])
def test_pictures_of_the_latent(here, command):
    assert narrows(f"{command} runs/mine --out {command}.png") == 0
    assert (here / f"{command}.png").is_file()


def test_compare_writes_the_page(folder):
    process(
        folder,
        "compare ./mine.yaml vq --data digits --seeds 1 --jobs 1 --set fit.epochs=1 "
        "--data-options.train_examples 200 --data-options.test_examples 100 "
        f"--priors histogram,{CHAIN} --files 50 --skip-measures --out compared",
    )
    page = (folder / "compared" / "report.html").read_text()
    assert "mine" in page
    assert "Chain" in page
