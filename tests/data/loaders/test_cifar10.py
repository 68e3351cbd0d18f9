import importlib.util
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from narrows.data import load
from narrows.data.loaders import cifar10
from narrows.data.loading import data_root

RANDOM = np.random.default_rng(0)
EACH = 20


def _python2_pickle(*arguments):
    path = Path(__file__).parents[1] / "reading" / "test_plain_pickle.py"
    spec = importlib.util.spec_from_file_location("plain_pickle_cases", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.python2_pickle(*arguments)


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """Small files of CIFAR-10's form: `(pixels [20, 3072], labels)` by name."""
    monkeypatch.setattr(cifar10, "_EACH", EACH)
    monkeypatch.setenv("NARROWS_CACHE", str(tmp_path / "cache"))
    return {
        part: (
            RANDOM.integers(0, 256, (EACH, 3072), dtype=np.uint8),
            np.arange(EACH, dtype=np.uint8) % 10,
        )
        for part in cifar10.PARTS
    }


def _binary(pixels, labels):
    return np.concatenate([labels[:, None], pixels], axis=1).tobytes()


def _write(folder, parts, encode, ending):
    folder.mkdir(parents=True)
    for part, (pixels, labels) in parts.items():
        (folder / f"{part}{ending}").write_bytes(encode(pixels, labels))


def _check(data, parts):
    assert (data.shape, len(data.train), len(data.validation)) == ((3, 32, 32), 90, 10)
    pixels, labels = parts["test_batch"]
    np.testing.assert_array_equal(data.test.images.flatten(1).numpy(), pixels)
    assert data.test.labels.tolist() == labels.tolist()
    both = torch.cat([data.train.images, data.validation.images]).flatten(1).numpy()
    expected = np.concatenate([parts[part][0] for part in cifar10.PARTS[:5]])
    assert sorted(map(bytes, both)) == sorted(map(bytes, expected))


@pytest.mark.parametrize("below", ["cifar-10-batches-bin", "cifar10/cifar-10-batches-bin", "."])
def test_the_binary_version_is_read(tmp_path, parts, below):
    _write(tmp_path / "root" / below, parts, _binary, ".bin")
    _check(load("cifar10", tmp_path / "root", validation=10), parts)


def test_the_python_version_is_read_without_unpickling(tmp_path, parts, monkeypatch):
    import pickle

    monkeypatch.setattr(pickle, "load", None)
    monkeypatch.setattr(pickle, "Unpickler", None)
    _write(tmp_path / "root" / "cifar-10-batches-py", parts, _python2_pickle, "")
    _check(load("cifar10", tmp_path / "root", validation=10), parts)


@pytest.mark.parametrize(("version", "ending"), [("binary", ".bin"), ("python", "")])
def test_the_published_archives_are_read_in_place(tmp_path, parts, version, ending):
    layout = f"cifar-10-batches-{version[:3] if version == 'binary' else 'py'}"
    encode = _binary if version == "binary" else _python2_pickle
    with tarfile.open(tmp_path / f"cifar-10-{version}.tar.gz", "w:gz") as tar:
        for part, case in parts.items():
            content = encode(*case)
            member = tarfile.TarInfo(f"{layout}/{part}{ending}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    assert cifar10.present(tmp_path)
    _check(load("cifar10", tmp_path, validation=10), parts)
    archive = tmp_path / f"cifar-10-{version}.tar.gz"
    archive.write_bytes(archive.read_bytes()[:100_000])
    with pytest.raises(ValueError, match="truncated or damaged"):
        load("cifar10", tmp_path)


def test_damaged_files_are_refused_by_name(tmp_path, parts):
    folder = tmp_path / "cifar-10-batches-bin"
    _write(folder, parts, _binary, ".bin")
    path = folder / "data_batch_3.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=r"data_batch_3.bin should have 61460 bytes"):
        load("cifar10", tmp_path)
    path.write_bytes(b"\x0b" + whole[1:])
    with pytest.raises(ValueError, match=r"data_batch_3.bin has labels outside"):
        load("cifar10", tmp_path)


def test_an_incomplete_folder_is_not_present(tmp_path, parts):
    _write(tmp_path / "cifar-10-batches-bin", parts, _binary, ".bin")
    (tmp_path / "cifar-10-batches-bin" / "test_batch.bin").unlink()
    assert not cifar10.present(tmp_path)


def test_only_the_published_content_is_called_cifar10(tmp_path, parts, monkeypatch):
    _write(tmp_path / "cifar-10-batches-bin", parts, _binary, ".bin")
    assert load("cifar10", tmp_path, validation=10).name == "CIFAR-10 (altered)"
    images = torch.from_numpy(np.concatenate([parts[p][0] for p in cifar10.PARTS[:5]]))
    images = images.view(-1, 3, 32, 32)
    sums = tuple(int(images[:, channel].sum()) for channel in range(3))
    monkeypatch.setattr(cifar10, "_KNOWN_SUMS", {sums: "CIFAR-10"})
    assert cifar10.content_name(images) == "CIFAR-10"
    images[0, 0, 0, 0] ^= 1
    assert cifar10.content_name(images) == "CIFAR-10 (altered)"


def test_the_published_channel_means_are_those_of_the_fingerprint():
    # The means that circulate, to the digits they are usually given with.
    known = next(sums for sums, name in cifar10._KNOWN_SUMS.items() if name == "CIFAR-10")
    means = np.array(known) / 255 / (50_000 * 1024)
    np.testing.assert_allclose(means, [0.49139968, 0.48215841, 0.44653091], atol=5e-9)


def _have_cifar():
    try:
        return cifar10.present(data_root())
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not _have_cifar(), reason="needs NARROWS_DATA with CIFAR-10 unpacked")
def test_cifar10_itself_is_balanced_and_named_by_its_content():
    data = load("cifar10")
    assert data.name in ("CIFAR-10", "CIFAR-10 (JPEG)")
    assert data.test.labels.bincount().tolist() == [1000] * 10
    assert 0.061 < data.variance < 0.064
