"""The IDX format of MNIST and its relatives: a header of sizes, then bytes."""

import gzip
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from narrows.data.dataset import Dataset, Split
from narrows.data.mapped import LARGE
from narrows.data.reading.files import digest, download, find
from narrows.data.splitting import set_aside

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def read_idx(path: Path) -> bytes:
    """The content of an IDX file of unsigned bytes, decompressed if it is gzip.

    No more is decompressed than the header announces, and a byte to see whether there is more.

    Raises:
        ValueError: if it is not such a file, or is longer or shorter than its header says.
    """
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            header = file.read(4)
            if len(header) < 4 or header[:3] != b"\x00\x00\x08" or not 1 <= header[3] <= 4:
                raise ValueError(f"{path} is not an IDX file of unsigned bytes; fetch it again")
            header += file.read(4 * header[3])
            expected = math.prod(_sizes(header))
            if expected > LARGE:
                raise ValueError(
                    f"{path} announces {expected} bytes, of which at most {LARGE} are read"
                )
            body = file.read(expected + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is truncated or damaged ({error}); fetch it again") from None
    if len(body) != expected or not expected:
        found = f"{len(body)}" if len(body) <= expected else "more"
        raise ValueError(
            f"{path} should hold {expected} bytes after its header, but holds {found}: it is "
            "truncated or damaged; fetch it again"
        )
    return header + body


def _sizes(header: bytes) -> tuple[int, ...]:
    whole = len(header) == 4 + 4 * header[3]
    return struct.unpack(f">{header[3]}I", header[4:]) if whole else (0,)


def _array(content: bytes) -> NDArray[np.uint8]:
    start = 4 + 4 * content[3]
    return np.frombuffer(content, np.uint8, offset=start).reshape(_sizes(content[:start]))


@dataclass(frozen=True)
class Published:
    """A data set of four IDX files.

    Attributes:
        title: the name shown; "(altered)" is added if the content is not the published one.
        folders: looked in below the root and the cache; the first is where downloads go.
        address: folder of the published files.
        classes: names of the labels.
        content: MD5 of each file decompressed, by name, where it is known.
        wrapper: MD5 of each compressed file as published, where only that is known.
    """

    title: str
    folders: Sequence[str]
    address: str
    classes: tuple[str, ...]
    content: Mapping[str, str] | None = None
    wrapper: Mapping[str, str] | None = None

    def present(self, root: Path | None = None) -> bool:
        """Whether all four files are in the root or in the cache."""
        return all(self._locate(name, root) for name in NAMES)

    def load(self, root: Path | None, *, validation: int) -> Dataset:
        """Loads the set; a stratified part of training, by seed 0, is for validation."""
        contents = [self._content(name, root) for name in NAMES]
        images, labels, test_images, test_labels = map(_array, contents)
        if images.min() == images.max():
            raise ValueError(
                f"every value of {NAMES[0]} is {images.min()}: there is nothing to learn"
            )
        train = self._split(images, labels, part="train")
        test = self._split(test_images, test_labels, part="t10k")
        train, held = set_aside(train, validation)
        original = self.content is None or all(
            digest(content) == self.content[name]
            for name, content in zip(NAMES, contents, strict=True)
        )
        name = self.title if original else f"{self.title} (altered)"
        note = f"{validation} training images for validation"
        return Dataset(name, train, held, test, self.classes, note)

    def _locate(self, name: str, root: Path | None) -> Path | None:
        """A file, with or without gzip, in either spelling that is in use."""
        words = (name, name.replace("-idx", ".idx"))
        return find([f"{word}{end}" for word in words for end in ("", ".gz")], self.folders, root)

    def _content(self, name: str, root: Path | None) -> bytes:
        path = self._locate(name, root) or download(
            [f"{self.address}{name}.gz"],
            self.folders[0],
            known_hash=None if self.wrapper is None else f"md5:{self.wrapper[name]}",
            check=lambda path: self.content is None or digest(read_idx(path)) == self.content[name],
        )
        return read_idx(path)

    def _split(self, images: NDArray[np.uint8], labels: NDArray[np.uint8], *, part: str) -> Split:
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"the {part} files do not belong together: images of shape {images.shape}, "
                f"labels of shape {labels.shape}; fetch both again"
            )
        stored = torch.from_numpy(images[:, None].copy())  # a split owns its memory
        return Split(stored, torch.from_numpy(labels.astype(np.int64)))
