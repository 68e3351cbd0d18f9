"""prior, sample, interpolate, compress and decompress on a real run of digits."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import narrows as nw
from narrows.bottlenecks import SparseDictionary, TopK, Variational, VectorQuantizer
from narrows.cli.main import main
from narrows.networks import Conv


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Run folders of three families, trained for one epoch on digits."""
    folder = tmp_path_factory.mktemp("runs")
    data = nw.data.load("digits")
    every = {
        "vq": VectorQuantizer(16, 4),
        "vae": Variational(2),
        "sparse": SparseDictionary(16, 4, TopK(2)),
    }
    for name, bottleneck in every.items():
        torch.manual_seed(0)
        model = nw.Autoencoder.for_images(data.shape, bottleneck, Conv(8))
        nw.fit(model, data, epochs=1, out=folder / name, show=False)
    return folder


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name, size in (("a.png", (8, 8)), ("b.jpg", (21, 13)), ("c.webp", (30, 9))):
        pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("not a picture")
    return folder


@pytest.mark.parametrize(
    ("run", "kind"),
    [
        ("vq", "pixelcnn"),
        ("vq", "transformer"),
        ("vq", "histogram"),
        ("vae", "quantized"),
        ("vae", "mixture"),
        ("sparse", "support"),
        ("sparse", "tokens"),
    ],
)
def test_a_prior_is_fitted_saved_and_sampled_from(runs, run, kind, capsys):
    options = ["--epochs", "1", "--width", "8", "--components", "2"]
    assert main(["prior", str(runs / run), "--kind", kind, *options]) == 0
    assert "bits per example on the test split" in capsys.readouterr().out
    folder = runs / run / "priors" / kind
    assert json.loads((folder / "prior.json").read_text())["test"] > 0
    assert main(["sample", str(runs / run), "--prior", kind, "--n", "9", "--seed", "1"]) == 0
    written = runs / run / f"samples-{kind}.png"
    first = written.read_bytes()
    with Image.open(written) as image:
        assert image.width > image.height  # 8 in the first row, 1 in the second
    main(["sample", str(runs / run), "--prior", kind, "--n", "9", "--seed", "1"])
    assert written.read_bytes() == first


def test_interpolations_are_written_for_discrete_and_continuous_codes(runs, tmp_path):
    for run, path in (("vq", None), ("vae", "linear"), ("sparse", None)):
        out = tmp_path / f"{run}.png"
        chosen = ["--path", path] if path else []
        assert main(["interpolate", str(runs / run), "--out", str(out), *chosen]) == 0
        assert out.stat().st_size > 100
    assert main(["interpolate", str(runs / "vq"), "--path", "linear"]) == 1


@pytest.mark.parametrize("lossless", [False, True])
def test_files_of_any_size_are_compressed_and_come_back(runs, pictures, tmp_path, lossless, capsys):
    small, back = tmp_path / "small", tmp_path / "back"
    flag = ["--lossless", "true"] if lossless else []
    assert main(["compress", str(runs / "vq"), str(pictures), "--out", str(small), *flag]) == 0
    text = capsys.readouterr().out
    assert "skipped" in text
    assert "broken.png" in text
    assert sorted(path.name for path in small.iterdir()) == ["a.nrwz", "b.nrwz", "c.nrwz"]
    assert main(["decompress", str(runs / "vq"), str(small), "--out", str(back), *flag]) == 0
    for name in ("a.png", "b.jpg", "c.webp"):
        with Image.open(pictures / name) as one, Image.open(back / f"{name[0]}.png") as other:
            grey = one.convert("L")
            assert other.size == grey.size
            if lossless:
                assert np.array_equal(np.asarray(other), np.asarray(grey))


def test_what_cannot_be_done_is_one_sentence(runs, pictures, tmp_path, capsys):
    vq, vae = str(runs / "vq"), str(runs / "vae")
    small = str(tmp_path / "small")
    for arguments, said in (
        (["sample", vq, "--prior", "nothing"], "narrows prior"),
        (["sample", vq, "--temperature", "0.5"], "pixelcnn"),
        (["sample", vq, "--n", "0"], "at least 1"),
        (["prior", vq, "--kind", "mixture"], "does not suit"),
        (["prior", vae, "--kind", "pixelcnn"], "integers"),
        (["compress", vae, str(pictures), "--out", small], "QuantizedHistogram"),
        (["compress", vq, "nowhere.png"], "does not exist"),
        (["compress", vq, str(pictures / "broken.png"), "--out", small], "could be read"),
        (["decompress", vq, str(pictures), "--out", small], ".nrwz"),
        (["decompress", vq, str(pictures / "a.png"), "--out", small], "could be read"),
    ):
        assert main(arguments) == 1, arguments
        assert said in capsys.readouterr().err


def test_outputs_are_never_overwritten(runs, pictures, capsys):
    image = str(pictures / "a.png")
    assert main(["compress", str(runs / "vq"), image]) == 0
    assert main(["compress", str(runs / "vq"), image]) == 1
    assert "exists already" in capsys.readouterr().err
