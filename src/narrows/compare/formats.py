"""JPEG, WebP and PNG beside the models: the same images, the bytes of their files."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, features

from narrows.compare.asked import WRITTEN
from narrows.data.dataset import Dataset

QUALITIES: Mapping[str, Sequence[int]] = {
    "JPEG": (2, 5, 10, 20, 30, 45, 60, 75, 85, 92, 97),
    "WebP": (0, 5, 15, 30, 50, 70, 82, 90, 96),
}
SMALLEST = 16
"""Pixels of the shorter side: below it a file is little but its header."""


@dataclass(frozen=True)
class Format:
    """One format at one quality, on test images each of which is a file.

    Attributes:
        name: of the format.
        quality: of its encoder; None for PNG, which keeps every pixel.
        bits: per value of the image, without what every file of the format repeats.
        whole: the same of whole files.
        mse: of what comes back, in [0, 1].
    """

    name: str
    quality: int | None
    bits: float
    whole: float
    mse: float


def formats(data: Dataset, examples: int = WRITTEN) -> list[Format]:
    """The formats' points on a data set's first test images; none where they make no sense.

    That is for anything but 8-bit images of 1 or 3 channels with a side of 16 pixels or more.
    Without their headers files count as the compressed data alone: from the scan on in JPEG, the
    VP8 frame behind its header in WebP, the IDAT chunks of PNG.
    """
    shape = data.shape
    if len(shape) != 3 or shape[0] not in (1, 3) or data.levels != 256 or min(shape[1:]) < SMALLEST:
        return []
    stored = data.test.stored(torch.arange(min(examples, len(data.test)))).cpu()
    images = stored.permute(0, 2, 3, 1).squeeze(-1).numpy()
    kinds = [(name, quality) for name, all_of in QUALITIES.items() for quality in all_of]
    found = [(*kind,) for kind in kinds if kind[0] != "WebP" or features.check("webp")]
    return [_measure(images, name, quality) for name, quality in [*found, ("PNG", None)]]


def _measure(images: np.ndarray, name: str, quality: int | None) -> Format:
    """All images in files of their own."""
    whole, bare, squares = 0, 0, 0.0
    for image in images:
        blob = _encode(image, name, quality)
        back = np.asarray(Image.open(io.BytesIO(blob)).convert("L" if image.ndim == 2 else "RGB"))
        squares += float(np.square((back.astype(np.float64) - image) / 255).mean())
        whole += len(blob)
        bare += compressed_bytes(blob)
    return Format(
        name, quality, 8 * bare / images.size, 8 * whole / images.size, squares / len(images)
    )


def _encode(image: np.ndarray, name: str, quality: int | None) -> bytes:
    file, picture = io.BytesIO(), Image.fromarray(image)
    if name == "PNG":
        picture.save(file, "PNG", optimize=True)
    elif name == "WebP":
        picture.save(file, "WEBP", quality=quality, method=6)
    else:
        # Half the colour's resolution is what costs quality where there are many bits.
        fine = quality is not None and quality >= 85
        picture.save(file, "JPEG", quality=quality, optimize=True, subsampling=0 if fine else 2)
    return file.getvalue()


def compressed_bytes(blob: bytes) -> int:
    """Bytes of a file that hold compressed pixels, without headers, tables and metadata.

    Raises:
        ValueError: if it is none of the three formats.
    """
    if blob.startswith(b"\x89PNG"):
        return sum(size for kind, size in _chunks(blob, 8, "big", extra=4) if kind == b"IDAT")
    if blob.startswith(b"RIFF"):
        chunks = _chunks(blob, 12, "little", extra=0)
        return sum(size - 10 for kind, size in chunks if kind == b"VP8 ")  # 10: of the frame
    if blob.startswith(b"\xff\xd8"):
        start = blob.index(b"\xff\xda")  # start of scan
        return len(blob) - (start + 2 + int.from_bytes(blob[start + 2 : start + 4], "big")) - 2
    raise ValueError(f"expected a JPEG, WebP or PNG file, got one that begins with {blob[:4]!r}")


def _chunks(blob: bytes, place: int, order: str, *, extra: int) -> Iterator[tuple[bytes, int]]:
    """Kind and length of each chunk of a RIFF or PNG file."""
    while place + 8 <= len(blob):
        if order == "big":
            size, kind = int.from_bytes(blob[place : place + 4], "big"), blob[place + 4 : place + 8]
        else:
            kind = blob[place : place + 4]
            size = int.from_bytes(blob[place + 4 : place + 8], "little")
        yield kind, size
        place += 8 + size + extra + (size % 2 if order == "little" else 0)
