"""The IDX format of MNIST and its relatives: a header of sizes, then bytes."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from narrows.data.dataset import Dataset, Split, split_rows
from narrows.data.reading.files import digest, download, find

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def read_bytes(path: Path) -> bytes:
    """The content of a file, decompressed if it is gzip by its first bytes.

    Raises:
        ValueError: if the compressed file is truncated or damaged.
    """
    raw = path.read_bytes()
    if raw[:2] != b"\x1f\x8b":
        return raw
    try:
        return gzip.decompress(raw)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is truncated or damaged ({error}); fetch it again") from None


def parse_idx(content: bytes, path: Path) -> NDArray[np.uint8]:
    """The array of unsigned bytes in an IDX file's content.

    Raises:
        ValueError: if it is not such a file, or is longer or shorter than its header says.
    """
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or not 1 <= content[3] <= 4:
        raise ValueError(f"{path} is not an IDX file of unsigned bytes; fetch it again")
    axes = content[3]
    start = 4 + 4 * axes
    sizes = struct.unpack(f">{axes}I", content[4:start]) if len(content) >= start else (0,)
    expected, found = math.prod(sizes), max(0, len(content) - start)
    if expected != found or not expected:
        raise ValueError(
            f"{path} should hold {expected} bytes after its header, but holds {found}: it is "
            "truncated or damaged; fetch it again"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(sizes)


def locate(folders: tuple[str, ...], root: Path | None) -> list[Path | None]:
    """The four files, each with or without gzip, where they are; None for the absent."""
    spellings = [(name, name.replace("-idx", ".idx")) for name in NAMES]
    return [
        find([f"{word}{end}" for word in words for end in ("", ".gz")], folders, root)
        for words in spellings
    ]


def load_idx(
    title: str,
    folders: tuple[str, ...],
    address: str,
    *,
    root: Path | None,
    validation: int,
    content: dict[str, str] | None = None,
    wrapper: dict[str, str] | None = None,
) -> Dataset:
    """Loads four IDX files as a data set; a stratified part of training is for validation.

    Args:
        title: the name shown; "(altered)" is added if the content is not the published one.
        folders: looked in below the root and the cache; the first is where downloads go.
        address: folder of the published files.
        root: the user's own folder, or None.
        validation: number of training images set aside, by seed 0.
        content: MD5 of each file decompressed, by name, where it is known.
        wrapper: MD5 of each compressed file as published, where only that is known.
    """
    files = locate(folders, root)
    arrays, altered = [], False
    for name, file in zip(NAMES, files, strict=True):
        path = file or _download(name, address, folders[0], content, wrapper)
        data = read_bytes(path)
        if content is not None:
            altered |= digest(data) != content[name]
        arrays.append(parse_idx(data, path))
    images, labels, test_images, test_labels = arrays
    for pictures, answers, part in ((images, labels, "train"), (test_images, test_labels, "t10k")):
        if pictures.ndim != 3 or answers.shape != pictures.shape[:1]:
            raise ValueError(
                f"the {part} files do not belong together: images of shape {pictures.shape}, "
                f"labels of shape {answers.shape}; fetch both again"
            )
    train = to_split(images[:, None], labels)
    train, held = set_aside(train, validation)
    test = to_split(test_images[:, None], test_labels)
    name = f"{title} (altered)" if altered else title
    return Dataset(name, train, held, test, note=f"{validation} training images for validation")


def to_split(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Split:
    """Read-only bytes as a split that owns its memory."""
    return Split(torch.from_numpy(images.copy()), torch.from_numpy(labels.astype(np.int64)))


def set_aside(train: Split, validation: int) -> tuple[Split, Split]:
    """Divides published training examples into those for training and those for validation.

    Stratified, by seed 0 whatever the seed of a run, so that runs can be compared.

    Raises:
        ValueError: if that leaves none for one of the two.
    """
    if not 0 < validation < len(train):
        raise ValueError(
            f"expected between 1 and {len(train) - 1} examples for validation, got {validation}"
        )
    labels = None if train.labels is None else train.labels.numpy()
    rows, held, _ = split_rows(len(train), (validation, 0), 0, labels)
    parts = [
        Split(train.images[part], None if train.labels is None else train.labels[part])
        for part in (rows, held)
    ]
    return parts[0], parts[1]


def _download(
    name: str,
    address: str,
    folder: str,
    content: dict[str, str] | None,
    wrapper: dict[str, str] | None,
) -> Path:
    def check(path: Path) -> None:
        if content is not None and digest(read_bytes(path)) != content[name]:
            raise ValueError("its content is not the published one")

    known = None if wrapper is None else f"md5:{wrapper[name]}"
    return download([f"{address}{name}.gz"], folder, known_hash=known, check=check)
