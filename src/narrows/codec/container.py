"""The bytes around a payload: header, checks, limits."""

import hashlib
import math
import struct
from dataclasses import dataclass

from narrows.saving.arguments import check_arguments


class CodecError(ValueError):
    """These bytes are not what `Codec.compress` wrote for this model, or not whole."""


@dataclass(frozen=True)
class Limit:
    """The most that `Codec.decompress` reads from one file; normal use never meets it.

    A header of a few bytes can ask for any number of images, each a walk through the prior, and
    for any size, which takes memory. The time to read a file is further bounded by its length:
    a reader that has come to the end of the payload and finds more than the coder could have
    held stops.

    Attributes:
        images: of the model's size, tiles of larger ones included. The default is more than the
            60,000 of MNIST in one file, or a photo of 67 million pixels in tiles of 32 x 32.
        values: pixels times channels of all images, or numbers of all vectors.

    Raises:
        ValueError: if a number is below 1.

    Source: the idea is Pillow's `Image.MAX_IMAGE_PIXELS`, a check for decompression bombs.

    Example:
        >>> Limit(images=10).check(10, (1, 8, 8))
    """

    images: int = 1 << 16
    values: int = 1 << 28

    def __post_init__(self) -> None:
        check_arguments("Limit", Limit.__init__, given=self.__dict__)
        if self.images < 1 or self.values < 1:
            raise ValueError(f"expected limits of at least 1, got {self.images} and {self.values}")

    def check(self, images: int, shape: tuple[int, ...]) -> None:
        """Refuses more than the limit.

        Args:
            images: of the model's size.
            shape: of one.

        Raises:
            CodecError: that says how to raise the limit.
        """
        for name, what, asked in (
            ("images", "images or tiles of the model's size", images),
            ("values", "values (pixels times channels)", images * math.prod(shape)),
        ):
            most = getattr(self, name)
            if asked > most:
                raise CodecError(
                    f"the file says it holds {asked} {what}, more than the limit of {most}; if you "
                    f"trust it, pass limit=Limit({name}={asked}), or --limit.{name} {asked}"
                )


MAGIC = b"NRWZ"
VERSION = 5
_EARLIER = 4  # had other bits-back grids; 3 other escapes; 2 no notes on rounding, other blocks
CODES, RESIDUAL, BITS_BACK = 0, 1, 2
_FIXED = struct.Struct("<4sBB8sIII")
_CHECK = 8
_MOST_DIMENSIONS = 31  # what a byte has room for


@dataclass(frozen=True)
class Header:
    """What a file says of itself.

    Attributes:
        mode: how the payload is coded.
        floating: whether examples come back as float32 in [0, 1] (or vectors) or as uint8.
        fingerprint: 5 bytes that name the model, then 3 that name the prior.
        count: number of examples.
        shape: of one example as it was given, which may exceed the model's (tiles).
        code_check: CRC-32 of the codes, so that no wrong code is ever decoded silently.
        notes: on close calls in rounding, see `narrows.codec.rounding`.
    """

    mode: int
    floating: bool
    fingerprint: bytes
    count: int
    shape: tuple[int, ...]
    code_check: int
    notes: bytes = b""


def overhead(dimensions: int) -> int:
    """Bytes of a file beyond its payload and notes."""
    return _FIXED.size + 4 * dimensions + _CHECK


def pack(header: Header, payload: bytes) -> bytes:
    """Header, notes, payload and checksum."""
    kind = header.mode | int(header.floating) << 2 | len(header.shape) << 3
    numbers = (header.count, header.code_check, len(header.notes))
    head = _FIXED.pack(MAGIC, VERSION, kind, header.fingerprint, *numbers)
    body = head + struct.pack(f"<{len(header.shape)}I", *header.shape) + header.notes + payload
    return body + _digest(body)


def unpack(blob: bytes) -> tuple[Header, bytes]:
    """Header and payload, after the checksum of all bytes has been verified.

    Raises:
        CodecError: if the bytes are not such a file, are truncated, or were altered.
    """
    if not isinstance(blob, (bytes, bytearray, memoryview)):
        raise TypeError(f"expected the bytes of a file, got {type(blob).__name__}")
    blob = bytes(blob)
    if len(blob) < _FIXED.size + _CHECK:
        raise CodecError(f"expected at least {overhead(1)} bytes, got {len(blob)}: truncated")
    magic, version, kind, fingerprint, count, check, notes = _FIXED.unpack_from(blob)
    if magic != MAGIC:
        raise CodecError(f"expected data that begin with {MAGIC!r}, got {magic!r}: not compressed")
    if version != VERSION and (version != _EARLIER or kind & 3 == BITS_BACK):
        what = "bits-back files, whose grid was another" if version == _EARLIER else "files"
        raise CodecError(
            f"format {version} of {what}, and this narrows reads format {VERSION}; decompress it "
            "with the version of narrows that wrote it"
        )
    body = blob[:-_CHECK]
    if _digest(body) != blob[-_CHECK:]:
        raise CodecError("the checksum does not match: the data are truncated or damaged")
    mode, dimensions = kind & 3, kind >> 3
    start = _FIXED.size + 4 * dimensions
    if mode not in (CODES, RESIDUAL, BITS_BACK) or len(body) < start + notes:
        raise CodecError("the header makes no sense: not written by Codec.compress")
    if not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise CodecError(f"expected 1 to {_MOST_DIMENSIONS} dimensions, got {dimensions}")
    shape = struct.unpack_from(f"<{dimensions}I", body, _FIXED.size)
    said, payload = body[start : start + notes], body[start + notes :]
    return Header(mode, bool(kind & 4), fingerprint, count, shape, check, said), payload


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECK).digest()
