import numpy as np
import pytest
from scipy.io import savemat

from narrows.data import load

RANDOM = np.random.default_rng(0)


def _write(folder, n):
    images = RANDOM.integers(0, 256, (32, 32, 3, n), dtype=np.uint8)
    labels = np.arange(n)[:, None] % 10 + 1
    savemat(folder, {"X": images, "y": labels})
    return images, labels


def test_matlab_files_are_read_with_ten_as_zero(tmp_path):
    (tmp_path / "svhn").mkdir()
    _write(tmp_path / "svhn" / "train_32x32.mat", 60)
    images, labels = _write(tmp_path / "svhn" / "test_32x32.mat", 20)
    data = load("svhn", tmp_path, validation=10)
    assert (len(data.train), len(data.validation), data.shape) == (50, 10, (3, 32, 32))
    np.testing.assert_array_equal(data.test.images[7].numpy(), images[..., 7].transpose(2, 0, 1))
    assert data.test.labels.tolist() == [int(label) % 10 for label in labels[:, 0]]


def test_damaged_or_foreign_files_are_refused_by_name(tmp_path):
    _write(tmp_path / "test_32x32.mat", 20)
    (tmp_path / "train_32x32.mat").write_bytes(b"nonsense" * 40)
    with pytest.raises(ValueError, match=r"train_32x32.mat is truncated or damaged"):
        load("svhn", tmp_path)
    savemat(tmp_path / "train_32x32.mat", {"Z": np.zeros(3)})
    with pytest.raises(ValueError, match="not one of SVHN's"):
        load("svhn", tmp_path)
