import io
import zipfile

import numpy as np
import pytest
import safetensors.torch as torch_file
import torch
from safetensors.numpy import save_file

from narrows.data import load
from narrows.data.loaders import array
from narrows.data.mapped import MappedSplit
from narrows.data.reading import arrays as reading

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (40, 6, 7), dtype=np.uint8)
LABELS = np.arange(40) % 4


@pytest.mark.parametrize("kind", ["npy", "npz", "safetensors"])
def test_each_format_gives_the_same_data(tmp_path, kind):
    path = tmp_path / f"mine.{kind}"
    np.save(tmp_path / "labels.npy", LABELS)
    if kind == "npy":
        np.save(path, IMAGES)
    elif kind == "npz":
        np.savez(path, x=IMAGES, y=LABELS)
    else:
        save_file({"x": IMAGES, "y": LABELS}, path)
    options = {"labels": str(tmp_path / "labels.npy")} if kind == "npy" else {}
    data = load(f"array:{path}", **options)
    assert (data.name, data.shape, data.classes) == ("mine", (1, 6, 7), ("0", "1", "2", "3"))
    reference = load(f"array:{path}", **options, seed=0)
    assert torch.equal(data.train.images, reference.train.images)
    for image, label in zip(data.test.images, data.test.labels, strict=True):
        place = next(i for i in range(40) if (IMAGES[i] == image.numpy()).all())
        assert int(label) == LABELS[place]


def test_a_large_file_is_mapped_and_gives_the_same_batches(tmp_path, monkeypatch):
    images = RANDOM.integers(0, 256, (40, 6, 7, 3), dtype=np.uint8)
    np.save(tmp_path / "a.npy", images)
    held = load(f"array:{tmp_path / 'a.npy'}")
    monkeypatch.setattr(array, "LARGE", 1000)
    mapped = load(f"array:{tmp_path / 'a.npy'}")
    assert isinstance(mapped.train, MappedSplit)
    assert mapped.shape == (3, 6, 7)
    index = torch.tensor([3, 3, 0])
    assert torch.equal(mapped.train.batch(index), held.train.batch(index))
    assert mapped.variance == held.variance
    for kind in (np.float16, np.float64, bool):
        values = (images / 300 if kind is not bool else images > 99).astype(kind)
        np.save(tmp_path / "b.npy", values)
        mapped = load(f"array:{tmp_path / 'b.npy'}").train
        assert isinstance(mapped, MappedSplit)
        monkeypatch.setattr(array, "LARGE", 1 << 30)
        assert torch.equal(
            mapped.batch(index), load(f"array:{tmp_path / 'b.npy'}").train.batch(index)
        )
        monkeypatch.setattr(array, "LARGE", 1000)


def test_several_arrays_need_a_name(tmp_path):
    np.savez(tmp_path / "a.npz", one=IMAGES, two=IMAGES)
    with pytest.raises(ValueError, match=r"has the arrays one, two; say by key=NAME"):
        load(f"array:{tmp_path / 'a.npz'}")
    with pytest.raises(ValueError, match=r"no array 'three'; it has one, two"):
        load(f"array:{tmp_path / 'a.npz'}", key="three")
    assert load(f"array:{tmp_path / 'a.npz'}", key="two").shape == (1, 6, 7)


def test_pickled_objects_are_refused_unread(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}] * 20), allow_pickle=True)
    with pytest.raises(ValueError, match="pickled Python objects, which are never loaded"):
        load(f"array:{tmp_path / 'a.npy'}")
    np.savez(tmp_path / "a.npz", x=np.array([{}] * 20))
    with pytest.raises(ValueError, match="pickled Python objects, which are never loaded"):
        load(f"array:{tmp_path / 'a.npz'}")


@pytest.mark.parametrize("kind", ["npy", "npz", "safetensors"])
def test_damaged_files_are_refused_by_name(tmp_path, kind):
    path = tmp_path / f"mine.{kind}"
    path.write_bytes(b"\x93NUMPY garbage")
    with pytest.raises(ValueError, match=rf"mine.{kind} is truncated or damaged"):
        load(f"array:{path}")


def test_absent_and_unknown_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load("array:nowhere.npy")
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(ValueError, match=r"expected a file .npy, .npz or .safetensors"):
        load(f"array:{tmp_path / 'a.csv'}")
    np.save(tmp_path / "a.npy", IMAGES)
    with pytest.raises(ValueError, match=r"neither an array of the file nor a file \.npy"):
        load(f"array:{tmp_path / 'a.npy'}", labels="nowhere.npy")


def test_types_that_numpy_lacks_are_read_as_float32(tmp_path):
    vectors = torch.randn(30, 6, generator=torch.Generator().manual_seed(0))
    for kind in (torch.bfloat16, torch.float8_e4m3fn):
        torch_file.save_file({"x": vectors.to(kind)}, tmp_path / "a.safetensors")
        data = load(f"array:{tmp_path / 'a.safetensors'}")
        parts = (data.train, data.validation, data.test)
        found = torch.cat([part.images for part in parts])
        assert sorted(found.tolist()) == sorted(vectors.to(kind).float().tolist())


def test_only_the_asked_array_of_an_archive_is_read(tmp_path):
    np.savez(tmp_path / "a.npz", x=IMAGES, other=IMAGES, y=np.array([{}] * 40))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    at = content.index(IMAGES.tobytes(), content.index(b"other.npy"))
    content[at : at + 50] = bytes(50)  # a checksum that no longer holds, in an array nobody wants
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"pickled Python objects.*or pass labels=none"):
        load(f"array:{tmp_path / 'a.npz'}")
    for no in ("none", False):
        data = load(f"array:{tmp_path / 'a.npz'}", labels=no)
        assert (data.shape, data.train.labels) == ((1, 6, 7), None)
    with pytest.raises(ValueError, match="truncated or damaged"):
        load(f"array:{tmp_path / 'a.npz'}", key="other", labels=False)


def test_an_archive_that_unpacks_to_more_than_it_says_or_than_fits_is_refused(
    tmp_path, monkeypatch
):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (1 << 40, 8)}
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue() + bytes(100))
    with pytest.raises(ValueError, match="announces 8796093022208 bytes in 2"):
        load(f"array:{tmp_path / 'a.npz'}")
    np.savez_compressed(tmp_path / "b.npz", x=np.zeros((100, 8, 8), np.uint8))
    monkeypatch.setattr(reading, "LARGE", 6000)
    with pytest.raises(
        ValueError, match=r"unpacks to 6528 bytes; save .* as .npy, which is mapped"
    ):
        load(f"array:{tmp_path / 'b.npz'}")
