"""Every command that writes, killed while a file is to appear: whole files or none, and no rest."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from narrows.cli.main import main

ROOT = Path(__file__).parents[2]
SMALL = ["--fit.epochs", "1", "--data-options", "{train_examples: 60, test_examples: 20}"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs on digits and on vectors, pictures, and what was made of them."""
    folder = tmp_path_factory.mktemp("runs")
    vectors = np.random.default_rng(0).normal(size=(80, 6)).astype(np.float32)
    np.save(folder / "vectors.npy", vectors)
    (folder / "pictures").mkdir()
    for name in ("a", "b", "c"):
        pixels = np.random.default_rng(len(name)).integers(0, 256, (9, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{name}.png")
    own = ["--data", f"array:{folder / 'vectors.npy'}", "--fit.epochs", "1"]
    small = ["--model.network.hidden", "4"]
    sizes = {"size": "12", "dim": "6", "coder.coder.coder.k": "2"}
    sparse = [w for name, v in sizes.items() for w in (f"--model.bottleneck.{name}", v)]
    for words in (
        ["train", "vq", *SMALL, *small, "--out", str(folder / "vq")],
        ["train", "sae-topk", *own, *sparse, "--out", str(folder / "sae")],
        ["train", "fsq", *own, "--out", str(folder / "ids")],
        ["compress", str(folder / "vq"), str(folder / "pictures"), "--out", str(folder / "packed")],
    ):
        assert main(words) == 0
    return folder


@pytest.mark.slow
def test_no_command_leaves_half_a_file(runs, tmp_path):
    out = {name: str(tmp_path / name) for name in ("vq", "sae", *map(str, range(20)))}
    made = [
        (["compress", "{vq}", str(runs / "pictures"), "--out", out["0"]], out["0"]),
        (["decompress", "{vq}", str(runs / "packed"), "--out", out["1"]], out["1"]),
        (["sample", "{vq}", "--out", f"{out['2']}/a.png"], out["2"]),
        (["interpolate", "{vq}", "--out", f"{out['3']}/a.png"], out["3"]),
        (["traverse", "{vq}", "--out", f"{out['4']}/a.png"], out["4"]),
        (["mask", "{vq}", "--out", f"{out['5']}/a.png"], out["5"]),
        (["denoise", "{vq}", "--out", f"{out['6']}/a.png"], out["6"]),
        (["export", "{vq}", "--out", out["7"]], out["7"]),
        (["export", "{vq}", "--format", "hub", "--out", out["8"]], out["8"]),
        (["export", "{sae}", "--format", "saelens", "--out", out["9"]], out["9"]),
        (["data", "digits", "--out", f"{out['10']}/a.png"], out["10"]),
        (["codes", "{ids}", str(runs / "vectors.npy"), "--out", f"{out['11']}/a.csv"], out["11"]),
        (["features", "{sae}", "--out", f"{out['12']}/a.html"], out["12"]),
        (["prior", "{vq}", "--kind", "histogram"], str(runs / "vq" / "priors")),
        (["report", "{vq}"], str(runs / "vq")),
    ]
    places = {name: str(runs / name) for name in ("vq", "sae", "ids")}
    asked = [{"words": [w.format(**places) for w in words], "out": to} for words, to in made]
    again, train = ["train", "--resume", out["13"]], ["train", "vq", *SMALL, "--out", out["13"]]
    asked.append({"words": train, "out": out["13"], "later": again})
    program = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "cli" / "kills_program.py")],
        input=json.dumps(asked), stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    found = json.loads(program.stdout)
    assert len(found) == len(asked)
    for one, what in zip(asked, found, strict=True):
        assert what["straight"] == [], one["words"]
        assert what["wrong"] == [], one["words"]
        assert what["files"] > 0, one["words"]
