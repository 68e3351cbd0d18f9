"""A saved model is whole, or refused by the name of the file that is not."""

import contextlib
import json
import stat
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

import narrows as nw
from narrows.functional import examples
from narrows.networks import Conv
from narrows.saving.writing import file_checksum
from tests.training.states import equal


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    model = nw.Autoencoder.for_images(
        (1, 8, 8), nw.VectorQuantizer(8, 2), network=Conv(hidden=4, downsamplings=1)
    )
    model.prior = nw.priors.PixelCNN(model.prior.sites, 8, hidden=4, layers=2)
    return model.save(tmp_path / "model")


def edit(folder, *place, value):
    parts = inner = json.loads((folder / "model.json").read_text())
    for key in place[:-1]:
        inner = inner[key]
    if value is KeyError:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    parts.pop("checksum", None)  # these are meant
    (folder / "model.json").write_text(json.dumps(parts))


def test_a_flipped_bit_in_the_weights_is_named_wherever_it_is(folder):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for place in (0, 9, 200, len(whole) // 2, len(whole) - 1):
        flipped = bytearray(whole)
        flipped[place] ^= 16
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match=r"model\.safetensors is damaged .*whole copy"):
            nw.Autoencoder.load(folder)
    for cut in (0, 5, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"model\.safetensors is damaged .*whole copy"):
            nw.Autoencoder.load(folder)
    path.write_bytes(whole)
    nw.Autoencoder.load(folder)


def test_a_flipped_bit_in_a_description_is_named_wherever_it_is(folder):
    path = folder / "model.json"
    whole = path.read_bytes()
    meant = json.loads(whole)
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 7
        path.write_bytes(flipped)
        with contextlib.suppress(ValueError):
            if json.loads(flipped) == meant:
                continue  # white space
        with pytest.raises(ValueError, match=r"model\.json (is damaged|has format|was wr|is made)"):
            nw.Autoencoder.load(folder)
    path.write_bytes(whole)
    nw.Autoencoder.load(folder)


@pytest.mark.parametrize("key", ["beta", "shape", "checksum"])
def test_descriptions_without_a_checksum_load_and_edited_ones_say_what_to_do(folder, key):
    path = folder / "model.json"
    content = json.loads(path.read_text())
    early = {name: part for name, part in content.items() if name != "checksum"}
    path.write_text(json.dumps(early))
    nw.Autoencoder.load(folder)
    path.write_text(json.dumps({**content, key: {"beta": 0.5, "shape": [1, 8, 9]}.get(key, "0a")}))
    with pytest.raises(ValueError, match=r"model\.json.*checksum.*whole copy.*remove its line"):
        nw.Autoencoder.load(folder)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("bottleneck", "init_args", "size"), 20_000_000),
        (("bottleneck", "init_args", "size"), 10**30),
        (("bottleneck", "init_args", "dim"), 3_000_000),
        (("network", "init_args", "hidden"), 100_000),
        (("network", "init_args", "residual_layers"), 1_000_000_000),
        (("prior", "init_args", "layers"), 1_000_000_000),
        (("prior", "init_args", "hidden"), 50_000),
        (("shape",), [1, 1_000_000, 1_000_000]),
        (("shape",), [1, 8, 9]),
        (("shape", 2), 10**30),
        (("prior", "init_args", "sites"), [1_000_000, 1_000_000]),
        (("prior", "init_args", "sites"), [4, 5]),
        (("prior", "init_args", "channels"), 10**12),
        (("network", "init_args", "downsamplings"), 10**12),
        (("bottleneck", "init_args", "size"), 9),
        (("bottleneck", "init_args", "size"), "many"),
        (("bottleneck", "init_args", "sise"), 8),
        (("bottleneck",), KeyError),
        (("bottleneck",), None),
        (("prior", "class_path"), "narrows.priors.NoSuch"),
        (("shape",), 3),
        (("sha256",), KeyError),
    ],
)
def test_a_description_that_does_not_fit_the_weights_is_refused_at_once(folder, place, value):
    edit(folder, *place, value=value)
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"model\.(json|safetensors).*save it again"):
        nw.Autoencoder.load(folder)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("shape", "parts"),
    [
        ((2, 16), {"bottleneck": nw.Rounded(2), "network": Conv(hidden=4, downsamplings=1)}),
        ((1, 8, 8), {"bottleneck": nw.Variational(2), "network": nw.networks.ResNet(hidden=4)}),
        ((4, 8, 8), {"bottleneck": nw.Identity(2), "network": Conv(hidden=4, downsamplings=1)}),
    ],
)
def test_shapes_that_no_weight_shows_are_held_against_the_header_and_bounded(
    tmp_path, shape, parts
):
    nw.Autoencoder(shape, **parts).save(tmp_path)
    edit(tmp_path, "shape", -1, value=shape[-1] + 1)
    with pytest.raises(ValueError, match=r"says shape .* for examples of shape .*whole copy"):
        nw.Autoencoder.load(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file(weights, tmp_path / "model.safetensors")  # without a header, as early files are
    (tmp_path / "model.json").unlink()
    model = nw.Autoencoder(shape, **parts)
    model.save(tmp_path / "again")
    save_file(weights, tmp_path / "again" / "model.safetensors")
    checksum = file_checksum(tmp_path / "again" / "model.safetensors")
    edit(tmp_path / "again", "sha256", value=checksum)
    nw.Autoencoder.load(tmp_path / "again")
    edit(tmp_path / "again", "shape", -1, value=10**9)
    with pytest.raises(ValueError, match=r"model\.json .*at most 67108864 values.*tiles"):
        nw.Autoencoder.load(tmp_path / "again")


@pytest.mark.parametrize(
    "prior",
    [
        nw.priors.Factorial((), 2, kl="monte_carlo"),
        nw.priors.GaussianMixture((), 2, components=2),
    ],
)
def test_a_number_of_draws_is_bounded(tmp_path, prior):
    model = nw.Autoencoder.for_vectors(6, nw.Variational(2))
    model.prior = prior
    model.save(tmp_path)
    edit(tmp_path, "prior", "init_args", "draws", value=10**9)
    with pytest.raises(ValueError, match=r"model\.json .*1 to 65536 draws.*save it again"):
        nw.Autoencoder.load(tmp_path)


def test_larger_examples_than_usual_are_a_matter_of_one_name(monkeypatch):
    monkeypatch.setattr(examples, "LARGEST", 63)
    with pytest.raises(ValueError, match=r"63 values.*functional\.examples\.LARGEST"):
        nw.Autoencoder.for_images((1, 8, 8), nw.Identity(2))
    monkeypatch.setattr(examples, "LARGEST", 64)
    nw.Autoencoder.for_images((1, 8, 8), nw.Identity(2))


def test_a_large_size_takes_no_memory(folder):
    edit(folder, "bottleneck", "init_args", "size", value=500_000_000)
    code = (
        "import resource, sys, narrows as nw\n"
        "try: nw.Autoencoder.load(sys.argv[1])\n"
        "except ValueError as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
    )
    said, most = done.stdout.splitlines()
    assert "(500000000, 2)" in said
    assert int(most) < 2000


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"format": 2}'])
def test_a_damaged_description_is_named(folder, content):
    (folder / "model.json").write_text(content)
    with pytest.raises(ValueError, match=r"model\.(json|safetensors).*(whole copy|0\.1\.0)"):
        nw.Autoencoder.load(folder)


def test_the_files_of_a_model_have_one_mode_and_come_back(folder):
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert len(modes) == 1
    assert modes != {0o600}
    model = nw.Autoencoder.load(folder)
    assert equal(model.state_dict(), nw.Autoencoder.load(folder).state_dict())
