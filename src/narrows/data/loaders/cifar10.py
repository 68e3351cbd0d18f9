"""CIFAR-10: 60,000 colour images of 32x32 in ten classes."""

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from narrows.data.dataset import Dataset, Split
from narrows.data.reading.files import cache_folder, download, find
from narrows.data.reading.plain_pickle import read_plain
from narrows.data.splitting import set_aside

ABOUT = "photographs of ten kinds of things, colour"
SHAPE = (3, 32, 32)
EXAMPLES = 60_000
CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer",
    "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
FOLDERS = ("", "cifar10", "cifar-10", "CIFAR10")
PARTS = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
ADDRESS = "https://www.cs.toronto.edu/~kriz/"
ARCHIVES = ("cifar-10-binary.tar.gz", "cifar-10-python.tar.gz")
ARCHIVE_HASH = "md5:c32a1d4ab5d03f1284b67883e8d87530"
_LAYOUTS = (("cifar-10-batches-bin", ".bin"), ("cifar-10-batches-py", ""))
_ROW = 1 + 3 * 32 * 32
_EACH = 10_000
# Sums of all red, green and blue training bytes. Those of the published set are its well-known
# channel means 0.4913996786, 0.4821584084 and 0.4465309145 times 255 * 50,000 * 1,024: whole
# numbers, as they must be. A set decoded from JPEG copies has others.
_KNOWN_SUMS = {
    (6415714204, 6295060180, 5829907619): "CIFAR-10",
    (6413765015, 6294170581, 5829777341): "CIFAR-10 (JPEG)",
}


def present(root: Path | None = None) -> bool:
    """Whether a complete layout or a published archive is in the root or in the cache."""
    return _locate(root) is not None or find(ARCHIVES, FOLDERS, root) is not None


def load(root: Path | None = None, *, validation: int = 5000) -> Dataset:
    """Loads CIFAR-10: 45,000 training, 5,000 validation and 10,000 test images by default.

    Reads the binary and the python version, unpacked or in the published archive; no pickle is
    run. The content says what it is: a copy that has been through JPEG is named
    "CIFAR-10 (JPEG)", and any other "CIFAR-10 (altered)", since numbers measured on them
    cannot be compared with published ones.

    Source: Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """
    parts = [_parse(content, path) for content, path in _contents(root)]
    images = torch.from_numpy(np.concatenate([images for images, _ in parts[:5]]))
    labels = torch.from_numpy(np.concatenate([labels for _, labels in parts[:5]]))
    name = content_name(images)
    train, held = set_aside(Split(images, labels), validation)
    test = Split(torch.from_numpy(parts[5][0]), torch.from_numpy(parts[5][1]))
    note = f"{validation} training images for validation"
    return Dataset(name, train, held, test, CLASSES, note)


def content_name(images: torch.Tensor) -> str:
    """The name that these training images deserve, by the sums of their channels."""
    red, green, blue = (int(images[:, c].sum(dtype=torch.int64)) for c in range(3))
    return _KNOWN_SUMS.get((red, green, blue), "CIFAR-10 (altered)")


def _contents(root: Path | None) -> Iterator[tuple[bytes, str]]:
    """Content and name of the six files, downloading the archive if there is none."""
    place = _locate(root)
    if place is not None:
        folder, ending = place
        for part in PARTS:
            path = folder / f"{part}{ending}"
            yield path.read_bytes(), str(path)
        return
    archive = find(ARCHIVES, FOLDERS, root) or download(
        [ADDRESS + ARCHIVES[0]], "cifar10", known_hash=ARCHIVE_HASH
    )
    layout, ending = _LAYOUTS[0] if "binary" in archive.name else _LAYOUTS[1]
    try:
        with tarfile.open(archive) as tar:
            for part in PARTS:
                member = tar.extractfile(f"{layout}/{part}{ending}")
                if member is not None:
                    yield member.read(), f"{archive.name}:{part}{ending}"
    except (tarfile.TarError, KeyError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(
            f"{archive} is truncated or damaged ({error}); delete it and fetch it again"
        ) from None


def _locate(root: Path | None) -> tuple[Path, str] | None:
    """The folder that holds all six files of one version, and the ending of their names."""
    bases = [base for base in (root, cache_folder()) if base is not None]
    for folder, (layout, ending) in product(
        (base / below for base in bases for below in FOLDERS), _LAYOUTS
    ):
        for place in (folder / layout, folder):
            if all((place / f"{part}{ending}").is_file() for part in PARTS):
                return place, ending
    return None


def _parse(content: bytes, path: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images `[10000, 3, 32, 32]` and labels `[10000]` of one file of either version."""
    if path.endswith(".bin"):
        if len(content) != _EACH * _ROW:
            raise ValueError(
                f"{path} should have {_EACH * _ROW} bytes, but has {len(content)}: it is "
                "truncated or damaged; fetch it again"
            )
        rows = np.frombuffer(content, np.uint8).reshape(_EACH, _ROW)
        pixels, labels = rows[:, 1:], rows[:, 0].astype(np.int64)
    else:
        pixels, labels = _from_python(read_plain(content, path), path)
    if pixels.shape != (_EACH, _ROW - 1) or labels.shape != (_EACH,):
        raise ValueError(f"{path} holds arrays of shapes {pixels.shape} and {labels.shape}")
    if labels.min() < 0 or labels.max() > 9:
        raise ValueError(f"{path} has labels outside 0..9: it is damaged; fetch it again")
    return np.array(pixels).reshape(-1, *SHAPE), labels  # a copy, which may be written to


def _from_python(plain: object, path: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The two entries that matter of the python version's dict; Python 2 wrote bytes as keys."""
    entries = {}
    if isinstance(plain, dict):
        entries = {k.decode("ascii") if isinstance(k, bytes) else k: v for k, v in plain.items()}
    pixels, labels = entries.get("data"), entries.get("labels")
    if not isinstance(pixels, np.ndarray) or not isinstance(labels, list):
        raise ValueError(
            f"{path} is not one of CIFAR-10's: it lacks an array 'data' or a list 'labels'"
        )
    return pixels, np.array(labels, np.int64)
