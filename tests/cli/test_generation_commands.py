"""prior, sample, interpolate, compress and decompress on a real run of digits."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import narrows as nw
from narrows.bottlenecks import SparseDictionary, SpikeAndSlab, TopK, Variational, VectorQuantizer
from narrows.cli.main import main
from narrows.networks import Conv

TILE, GAP = 32, 4  # pixels of a digit, enlarged by 4, and between digits


def grid(rows, columns):
    """Shape of a picture of so many digits."""
    return rows * (TILE + GAP) - GAP, columns * (TILE + GAP) - GAP


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Run folders of four families, trained for one epoch on digits."""
    folder = tmp_path_factory.mktemp("runs")
    data = nw.data.load("digits")
    every = {
        "vq": VectorQuantizer(16, 4),
        "vae": Variational(2),
        "sparse": SparseDictionary(16, 4, coder=TopK(2)),
        "slab": SpikeAndSlab(3),
    }
    for name, bottleneck in every.items():
        torch.manual_seed(0)
        model = nw.Autoencoder.for_images(data.shape, bottleneck, network=Conv(8))
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
        ("slab", "quantized"),
        ("sparse", "support"),
        ("sparse", "tokens"),
    ],
)
def test_a_prior_is_fitted_saved_and_sampled_from(runs, run, kind, capsys):
    options = ["--epochs", "1", "--width", "8", "--components", "2"]
    assert main(["prior", str(runs / run), "--kind", kind, *options]) == 0
    said = capsys.readouterr()
    assert "bits per example on the test split" in said.out
    by_gradient = kind in ("pixelcnn", "transformer", "tokens")
    assert ("epoch 1/1: " in said.err) == by_gradient
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


def picture(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


def test_traversals_are_written_for_every_kind_of_code(runs, tmp_path, capsys):
    for run in ("vq", "vae", "sparse"):
        out = tmp_path / f"{run}.png"
        options = ["--rows", "2", "--steps", "3", "--out", str(out)]
        assert main(["traverse", str(runs / run), *options]) == 0
        dimensions, values, _ = capsys.readouterr().out.splitlines()
        assert dimensions.startswith("dimensions ")
        count = len(values.split(", "))
        # A codebook is traversed over the codes in use, which may be fewer after one epoch.
        assert count == 3 or (run == "vq" and 1 <= count < 3)
        assert len(dimensions.split(", ")) == 2
        assert picture(out).shape == grid(2, count)


def test_codes_are_masked_site_by_site_or_completed_by_a_prior(runs, tmp_path):
    masked, completed = tmp_path / "masked.png", tmp_path / "completed.png"
    vq = str(runs / "vq")
    assert main(["mask", vq, "--rows", "2", "--out", str(masked)]) == 0
    assert picture(masked).shape == grid(2, 5)  # reconstruction and four sites
    options = ["--epochs", "1", "--width", "8"]
    assert main(["prior", vq, "--kind", "pixelcnn", *options]) == 0
    redrawn = ["--prior", "pixelcnn", "--rows", "2", "--draws", "3", "--out", str(completed)]
    assert main(["mask", vq, *redrawn]) == 0
    assert picture(completed).shape == grid(2, 4)
    first = [picture(path)[:TILE, :TILE] for path in (masked, completed)]
    assert np.array_equal(*first)  # the whole reconstruction leads both
    assert main(["mask", str(runs / "sparse"), "--prior", "support"]) == 1


def test_noise_is_added_and_removed_and_measured(runs, tmp_path, capsys):
    out = tmp_path / "denoised.png"
    options = ["--noise", "0.5", "--n", "4", "--measured", "50", "--out", str(out)]
    assert main(["denoise", str(runs / "vq"), *options]) == 0
    text = capsys.readouterr().out
    assert "50 test images" in text
    noisy, restored = (float(text.split(word)[0].split()[-2]) for word in (" noisy", " restored"))
    assert noisy < 12  # clipping takes some: an error of 0.5 would be 6 dB
    assert noisy != restored
    shown = picture(out)
    assert shown.shape == grid(3, 4)
    clean = nw.data.load("digits").test.images[0, 0].numpy()
    assert np.array_equal(shown[:TILE:4, :TILE:4], clean)


def test_pictures_are_of_the_run_s_own_data_with_the_options_it_was_trained_with(tmp_path):
    run, out = str(tmp_path / "run"), tmp_path / "new" / "picture.png"
    own = ["--data", "templates", "--data-options", "{size: 12, n: 200}"]
    small = ["--model.network", "Conv", "--model.network.hidden", "4"]
    assert main(["train", "vq", *own, *small, "--fit.epochs", "1", "--out", run]) == 0
    for command in ("interpolate", "traverse", "mask", "denoise"):
        shown = tmp_path / "new" / f"{command}.png"  # the folder is made
        assert main([command, run, "--out", str(shown)]) == 0
        assert min(picture(shown).shape) > 12
    assert main(["prior", run, "--kind", "histogram"]) == 0
    assert main(["interpolate", run, "--data", "digits", "--out", str(out)]) == 1  # 8x8


def test_a_run_on_vectors_in_memory_has_no_pictures_and_says_which_data_it_lacks(tmp_path, capsys):
    run = str(tmp_path / "run")
    data = nw.data.from_array(np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32))
    model = nw.Autoencoder.for_vectors(5, VectorQuantizer(4, 2))
    nw.fit(model, data, epochs=1, out=run, show=False)
    for command in ("sample", "interpolate", "traverse", "mask", "denoise"):
        assert main([command, run]) == 1
        assert "a run on images" in capsys.readouterr().err
    assert main(["evaluate", run]) == 1
    assert "--data names others" in capsys.readouterr().err


def test_a_conditional_prior_draws_the_class_asked_for(runs, capsys):
    vq = str(runs / "vq")
    fit = ["--kind", "pixelcnn", "--conditional", "true", "--epochs", "1", "--width", "8"]
    assert main(["prior", vq, *fit]) == 0
    assert main(["sample", vq, "--prior", "pixelcnn", "--label", "3", "--n", "4"]) == 0
    assert main(["sample", vq, "--prior", "pixelcnn", "--label", "11"]) == 1
    assert "is not a class of this prior (it has 0..9)" in capsys.readouterr().err
    assert main(["sample", str(runs / "vae"), "--label", "1"]) == 1
    assert "--conditional" in capsys.readouterr().err
    assert main(["prior", vq, "--kind", "histogram", "--conditional", "true"]) == 1
    assert "no classes" in capsys.readouterr().err


def test_a_prior_is_a_recipe_of_the_user_s_own_or_a_class_path(runs, tmp_path, capsys):
    vq, path = str(runs / "vq"), tmp_path / "tiny.yaml"
    path.write_text("class_path: narrows.priors.PixelCNN\ninit_args: {hidden: 4, kernel: 3}\n")
    assert main(["prior", vq, "--kind", str(path), "--epochs", "1"]) == 0
    assert main(["sample", vq, "--prior", "tiny", "--n", "2"]) == 0
    kept = json.loads((runs / "vq" / "priors" / "tiny" / "model.json").read_text())
    assert "PixelCNN" in json.dumps(kept)
    own = ["--kind", "narrows.priors.PixelCNN", "--epochs", "1", "--width", "8"]
    assert main(["prior", vq, *own, "--prior-options.layers", "1"]) == 0
    assert "narrows sample" in capsys.readouterr().out
    assert (runs / "vq" / "priors" / "PixelCNN" / "prior.json").is_file()
    assert main(["prior", vq, *own, "--prior-options.layer", "1"]) == 1
    assert "did you mean 'layers'?" in capsys.readouterr().err
    assert main(["prior", vq, "--kind", "pixelcn"]) == 2
    assert "did you mean 'pixelcnn'?" in capsys.readouterr().err


@pytest.mark.parametrize("lossless", [False, True])
def test_files_of_any_size_are_compressed_and_come_back(runs, pictures, tmp_path, lossless, capsys):
    small, back = tmp_path / "small", tmp_path / "back"
    flag = ["--lossless"] if lossless else ["--lossless", "false"]
    assert main(["compress", str(runs / "vq"), str(pictures), "--out", str(small), *flag]) == 1
    said = capsys.readouterr()
    assert "skipped" in said.err
    assert "broken.png: not an image" in said.err
    assert "1 of 4 files could not be done" in said.err
    assert said.out.count("without its colour") == 3
    assert "exact" not in said.out
    assert sorted(path.name for path in small.iterdir()) == ["a.nrwz", "b.nrwz", "c.nrwz"]
    assert main(["decompress", str(runs / "vq"), str(small), "--out", str(back), *flag]) == 0
    for name in ("a.png", "b.jpg", "c.webp"):
        with Image.open(pictures / name) as one, Image.open(back / f"{name[0]}.png") as other:
            grey = one.convert("L")
            assert other.size == grey.size
            if lossless:
                assert np.array_equal(np.asarray(other), np.asarray(grey))


@pytest.mark.parametrize(
    ("run", "written", "read", "said"),
    [
        ("vq", ["pixelcnn"], [], "this file needs --prior pixelcnn\n"),
        ("vq", [], ["pixelcnn"], "this file needs no --prior\n"),
        ("vq", ["pixelcnn"], ["uniform"], "this file needs --prior pixelcnn\n"),
        ("vq", ["pixelcnn", "x"], ["pixelcnn"], "--prior pixelcnn and --lossless true\n"),
        ("vq", [], ["", "x"], "this file needs no --prior\n"),
        ("vae", ["", "x"], [], "this file needs no --prior and --lossless true\n"),
        ("sparse", [], ["of vq"], "another model than that of"),
        ("vq", ["pixelcnn"], ["fitted anew"], "fitted anew or removed"),
    ],
)
def test_decompress_names_the_prior_that_a_file_needs(
    runs, tmp_path, capsys, run, written, read, said
):
    def options(words):
        kind, lossless = (*words, "", "")[:2]
        return [*(["--prior", kind] if kind else []), *(["--lossless", "true"] * bool(lossless))]

    place = shutil.copytree(runs / run, tmp_path / "run")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    brief = ["--epochs", "1", "--width", "4"]
    for kind, fit in (("pixelcnn", brief), ("uniform", [])) if run == "vq" else ():
        assert main(["prior", str(place), "--kind", kind, *fit]) == 0
    assert main(["compress", str(place), str(tmp_path / "a.png"), *options(written)]) == 0
    (tmp_path / "a.png").unlink()
    if read == ["fitted anew"]:
        shutil.rmtree(place / "priors" / "pixelcnn")
        read = []
    if read == ["of vq"]:
        place, read = runs / "vq", []
    capsys.readouterr()
    assert main(["decompress", str(place), str(tmp_path / "a.nrwz"), *options(read)]) == 1
    assert said in capsys.readouterr().err
    if "this file needs" in said:
        again = ["decompress", str(place), str(tmp_path / "a.nrwz"), *options(written)]
        assert main(again) == 0


def test_what_cannot_be_done_is_one_sentence(runs, pictures, tmp_path, capsys):
    vq, vae = str(runs / "vq"), str(runs / "vae")
    small = str(tmp_path / "small")
    for arguments, said in (
        (["sample", vq, "--prior", "nothing"], "narrows prior"),
        (["sample", vq, "--temperature", "0.5"], "pixelcnn"),
        (["sample", vq, "--n", "0"], "at least 1"),
        (["prior", vq, "--kind", "mixture"], "does not suit"),
        (["prior", vae, "--kind", "pixelcnn"], "the bottleneck makes continuous values"),
        (["compress", vae, str(pictures), "--out", small], "QuantizedHistogram"),
        (["traverse", vq, "--image", "-1"], "an image in 0.."),
        (["mask", vq, "--rows", "0"], "rows"),
        (["denoise", vq, "--noise", "-1"], "at least 0"),
        (["denoise", vq, "--n", "0"], "images shown"),
        (["compress", vq, "nowhere.png"], "does not exist"),
        (["compress", vq, str(pictures / "broken.png"), "--out", small], "could not be done"),
        (["decompress", vq, str(pictures), "--out", small], ".nrwz"),
        (["decompress", vq, small, "--limit.values", "0"], "at least 1"),
        (["decompress", vq, str(pictures / "a.png"), "--out", small], "could not be done"),
    ):
        assert main(arguments) == 1, arguments
        assert said in capsys.readouterr().err


def test_outputs_are_never_overwritten(runs, pictures, capsys):
    image = str(pictures / "a.png")
    assert main(["compress", str(runs / "vq"), image]) == 0
    assert main(["compress", str(runs / "vq"), image]) == 1
    assert "exists already" in capsys.readouterr().err


def test_what_can_be_compressed_is_and_what_cannot_is_listed(runs, tmp_path, capsys):
    vq, folder = str(runs / "vq"), tmp_path / "mine"
    folder.mkdir()
    grey = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    for name in ("a.png", "a.bmp", "b.png", "c.png"):
        grey.save(folder / name)
    (folder / "b.nrwz").write_bytes(b"of before")
    (folder / "phone.heic").write_bytes(b"")
    options = ["--lossless", "true"]
    assert main(["compress", vq, "nowhere.png", str(folder), *options]) == 1
    said = capsys.readouterr()
    written = {path.name for path in folder.glob("*.nrwz")}
    assert written == {"a.bmp.nrwz", "a.png.nrwz", "b.nrwz", "c.nrwz"}
    assert (folder / "b.nrwz").read_bytes() == b"of before"
    assert said.out.count(", exact") == 3
    for words in ("nowhere.png: it does not exist", "b.nrwz exists already", "files .heic"):
        assert words in said.err
    assert "3 of 6 files could not be done" in said.err


def test_two_pictures_for_one_place_are_never_one_file(runs, tmp_path, capsys):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((8, 8), 7, np.uint8)).save(tmp_path / name / "a.png")
    both = [str(tmp_path / "x" / "a.png"), str(tmp_path / "y" / "a.png")]
    assert main(["compress", str(runs / "vq"), *both, *both, "--out", str(tmp_path / "out")]) == 1
    assert "x/a.png goes; choose another --out" in capsys.readouterr().err
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_psnr_is_against_the_picture_that_was_given(runs, tmp_path, capsys):
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[..., 0] = 255  # luma 76: red is 179 off, green and blue 76
    Image.fromarray(pixels).save(tmp_path / "red.png")
    Image.fromarray(np.full((8, 8, 4), 255, np.uint8)).save(tmp_path / "clear.png")
    Image.fromarray(np.full((8, 8, 3), 9, np.uint8)).save(tmp_path / "same.png")
    options = ["--lossless", "true", "--out", str(tmp_path / "out")]
    assert main(["compress", str(runs / "vq"), str(tmp_path), *options]) == 0
    clear, red, same = capsys.readouterr().out.splitlines()
    assert same.endswith(", exact, as a grey picture")
    error = (179**2 + 2 * 76**2) / 3 / 255**2
    assert f"{-10 * np.log10(error):.2f} dB; without its colour" in red
    assert clear.endswith("without its transparency")
    assert "exact" not in clear


def test_a_file_of_many_images_becomes_as_many_pictures(runs, tmp_path, capsys):
    run = nw.Run.load(runs / "vq")
    images = nw.data.load("digits").test.images[:20]
    (tmp_path / "many.nrwz").write_bytes(nw.Codec(run.model, lossless=True).compress(images))
    options = ["--lossless", "true"]
    assert main(["decompress", str(runs / "vq"), str(tmp_path / "many.nrwz"), *options]) == 0
    found = sorted(tmp_path.glob("*.png"))
    assert [path.name for path in found] == [f"many-{n:02}.png" for n in range(1, 21)]
    for path, image in zip(found, images, strict=True):
        assert np.array_equal(picture(path), image[0].numpy())
    assert main(["decompress", str(runs / "vq"), str(tmp_path / "many.nrwz"), *options]) == 1
    assert "many-01.png exists already" in capsys.readouterr().err


def test_a_full_disk_ends_one_file_and_leaves_no_half_of_it(runs, tmp_path, monkeypatch, capsys):
    for name in ("a", "b", "c"):
        Image.fromarray(np.full((8, 8), 7, np.uint8)).save(tmp_path / f"{name}.png")
    write = Path.write_bytes

    def full(path, content):
        if "b" in path.name:
            write(path, content[:9])
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert main(["compress", str(runs / "vq"), str(tmp_path), "--out", str(tmp_path / "o")]) == 1
    assert "b.png: [Errno 28] No space left" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["a.nrwz", "c.nrwz"]


def test_a_picture_of_more_tiles_than_decompress_reads_unasked_is_compressed_with_the_way_back(
    runs, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("narrows.codec.container.Limit.__init__.__defaults__", (3, 1 << 28))
    Image.fromarray(np.full((16, 16), 7, np.uint8)).save(tmp_path / "a.png")
    vq = str(runs / "vq")
    assert main(["compress", vq, str(tmp_path / "a.png")]) == 0
    assert "add --limit.images 4" in capsys.readouterr().out
