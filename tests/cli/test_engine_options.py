"""Every precision and layout that the help lists, through every command that follows training."""

import numpy as np
import pytest
from PIL import Image

from narrows.cli.main import main

RECIPES = ("vq", "vae", "sparse-topk", "rounded", "ae")
SMALL = (
    "--fit.epochs 2 --data-options.train_examples 800 --data-options.test_examples 20 "
    "--model.network.hidden 8"
)
ENGINES = {
    "float64": "--fit.engine.precision 64-true",
    "bf16": "--fit.engine.precision bf16-mixed",
    "bf16, channels last": "--fit.engine.precision bf16-mixed --fit.engine.channels_last true",
    "float64, channels last": "--fit.engine.precision 64-true --fit.engine.channels_last true",
    "float64, accumulated": "--fit.engine.precision 64-true --fit.engine.accumulate 2",
    "chosen": "--fit.engine.precision auto --fit.engine.channels_last auto",
}


def followed(folder, recipe, engine):
    """Trains, and runs every command on what came of it."""
    run, out = str(folder / "run"), folder / "out"
    pictures = folder / "pictures"
    pictures.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(pictures / "one.png")
    code = "quantized" if recipe in ("vae", "ae") else None
    assert main(["train", recipe, "--out", run, *SMALL.split(), *ENGINES[engine].split()]) == 0
    fitted = [] if code is None else ["--prior", code]
    if code is not None:
        assert main(["prior", run, "--kind", code]) == 0
    if recipe == "vq":
        assert main(["prior", run, "--kind", "pixelcnn", "--epochs", "1", "--width", "8"]) == 0
    for words in (
        ["evaluate", run],
        ["report", run],
        ["sample", run, "--n", "2", "--out", f"{out}/sample.png"],
        ["interpolate", run, "--out", f"{out}/between.png"],
        ["denoise", run, "--out", f"{out}/denoised.png"],
        ["compress", run, str(pictures), "--out", f"{out}/packed", *fitted],
        ["decompress", run, f"{out}/packed", "--out", f"{out}/back", *fitted],
        ["export", run, "--out", f"{out}/exported"],
    ):
        assert main(words) == 0, words
    assert (out / "back" / "one.png").is_file()


@pytest.mark.parametrize("recipe", ["vq", "vae"])
def test_a_float64_run_serves_every_command(tmp_path, recipe):
    followed(tmp_path, recipe, "float64")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_engine_serves_every_command(tmp_path, recipe, engine):
    followed(tmp_path, recipe, engine)


def test_float16_is_refused_on_a_cpu(tmp_path, capsys):
    words = [
        *SMALL.split(),
        "--fit.engine.precision",
        "16-mixed",
        "--fit.engine.accelerator",
        "cpu",
    ]
    assert main(["train", "vq", "--out", str(tmp_path / "run"), *words]) == 1
    assert "use bf16-mixed" in capsys.readouterr().err
