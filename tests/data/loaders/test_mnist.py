import gzip
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from narrows.data import load
from narrows.data.loaders import mnist
from narrows.data.reading.idx import NAMES, read_idx

RANDOM = np.random.default_rng(0)
ROOT = Path(os.environ.get("NARROWS_DATA") or "/nonexistent")


def _idx(array):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A small set of MNIST's form in `mnist/`, and its training images and labels."""
    monkeypatch.setenv("NARROWS_CACHE", str(tmp_path / "cache"))
    arrays = [
        RANDOM.integers(0, 256, (60, 28, 28), dtype=np.uint8),
        np.repeat(np.arange(10, dtype=np.uint8), 6),
        RANDOM.integers(0, 256, (20, 28, 28), dtype=np.uint8),
        np.tile(np.arange(10, dtype=np.uint8), 2),
    ]
    (tmp_path / "mnist").mkdir()
    for name, array in zip(NAMES, arrays, strict=True):
        (tmp_path / "mnist" / name).write_bytes(_idx(array))
    return tmp_path, arrays


def _sorted(images):
    return sorted(map(bytes, images.numpy().reshape(len(images), -1)))


def test_idx_files_hold_what_they_say(folder):
    root, arrays = folder
    data = load("mnist", root, validation=20)
    assert (len(data.train), len(data.validation), len(data.test)) == (40, 20, 20)
    both = torch.cat([data.train.images, data.validation.images])
    assert _sorted(both) == sorted(map(bytes, arrays[0].reshape(60, -1)))
    np.testing.assert_array_equal(data.test.images[:, 0].numpy(), arrays[2])
    np.testing.assert_array_equal(data.test.labels.numpy(), arrays[3])
    assert data.validation.labels.bincount().tolist() == [2] * 10


def test_gzip_and_the_other_spelling_are_read_alike(folder):
    root, _ = folder
    plain = load("mnist", root, validation=10)
    for name in NAMES:
        path = root / "mnist" / name
        (root / "mnist" / (name.replace("-idx", ".idx") + ".gz")).write_bytes(
            gzip.compress(path.read_bytes())
        )
        path.unlink()
    assert torch.equal(load("mnist", root, validation=10).train.images, plain.train.images)


def test_content_that_is_not_mnists_is_not_called_mnist(folder):
    assert load("mnist", folder[0], validation=10).name == "MNIST (altered)"


def test_fashion_mnist_is_not_found_in_mnists_folder(folder, monkeypatch):
    from narrows.data.loaders import fashion_mnist

    assert mnist.present(folder[0])
    assert not fashion_mnist.present(folder[0])
    (folder[0] / "mnist").rename(folder[0] / "fashion_mnist")
    data = load("fashion-mnist", folder[0], validation=10)
    assert (data.name, data.classes[9]) == ("Fashion-MNIST", "ankle boot")


def test_a_truncated_file_is_refused_by_name(folder):
    root, _ = folder
    path = root / "mnist" / NAMES[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    with pytest.raises(ValueError, match=r"train-images.*should hold 47040 bytes.*holds 47035"):
        load("mnist", root)
    path.write_bytes(gzip.compress(whole)[:-20])
    with pytest.raises(ValueError, match=r"train-images.*truncated or damaged"):
        load("mnist", root)


@pytest.mark.parametrize(
    "content", [b"", b"<html>404</html>", _idx(np.zeros((2, 2), np.uint8))[:6]]
)
def test_something_else_is_refused(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError, match=r"not an IDX file|truncated"):
        read_idx(tmp_path / "x")


def test_no_more_is_decompressed_than_the_header_announces(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(_idx(np.zeros((3, 5), np.uint8)) + bytes(1 << 26)))
    tracemalloc.start()
    with pytest.raises(ValueError, match="should hold 15 bytes after its header, but holds more"):
        read_idx(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1 << 20
    path.write_bytes(gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 1 << 20, 1 << 10, 1 << 10)))
    with pytest.raises(ValueError, match="announces 1099511627776 bytes"):
        read_idx(path)


def test_files_that_do_not_belong_together_are_refused(folder):
    root, _ = folder
    (root / "mnist" / NAMES[1]).write_bytes(_idx(np.zeros(7, np.uint8)))
    with pytest.raises(ValueError, match="train files do not belong together"):
        load("mnist", root)


@pytest.mark.parametrize("validation", [0, 60])
def test_a_validation_set_of_none_or_all_is_refused(folder, validation):
    with pytest.raises(ValueError, match="between 1 and 59"):
        load("mnist", folder[0], validation=validation)


@pytest.mark.skipif(not mnist.present(ROOT), reason="needs NARROWS_DATA with MNIST")
def test_mnist_itself_has_its_published_moments():
    data = load("mnist", ROOT)
    assert data.name == "MNIST"
    assert [len(part) for part in (data.train, data.validation, data.test)] == [55000, 5000, 10000]
    both = torch.cat([data.train.images, data.validation.images]).double() / 255
    # Mean 0.1307 and deviation 0.3081 of the 60,000 training images are in every tutorial.
    assert float(both.mean()) == pytest.approx(0.1306604762738429, rel=1e-12)
    assert float(both.std()) == pytest.approx(0.30810780, abs=1e-7)


def test_a_constant_set_is_refused_with_the_reason(folder):
    root, _ = folder
    (root / "mnist" / NAMES[0]).write_bytes(_idx(np.full((60, 28, 28), 9, np.uint8)))
    with pytest.raises(ValueError, match="every value of train-images-idx3-ubyte is 9"):
        load("mnist", root, validation=20)
