"""The file around the bits: what it is, of which model, of what shape, and a checksum.

Layout, little-endian:

    4  magic "NRWZ"          1  version               1  mode (0 codes, 1 residual, 2 bits-back)
    1  values (0 uint8, 1 float32)                    1  number of dimensions d of an example
    8  fingerprint of the model and its prior         4  number of examples
    4d shape of one example                           4  CRC-32 of the codes
    ... payload                                       8  BLAKE2b of all that stands before
"""

import hashlib
import struct
from dataclasses import dataclass

from narrows.codec.errors import CodecError

MAGIC = b"NRWZ"
VERSION = 2  # 1 had no count of first words in bits-back payloads
CODES, RESIDUAL, BITS_BACK = 0, 1, 2
_FIXED = struct.Struct("<4sBBBB8sI")
_CHECK = 8
_MOST_DIMENSIONS = 3


@dataclass(frozen=True)
class Header:
    """What a file says of itself.

    Attributes:
        mode: how the payload is coded.
        floating: whether examples come back as float32 in [0, 1] (or vectors) or as uint8.
        fingerprint: of the model and prior, 8 bytes.
        count: number of examples.
        shape: of one example as it was given, which may exceed the model's (tiles).
        code_check: CRC-32 of the codes, so that no wrong code is ever decoded silently.
    """

    mode: int
    floating: bool
    fingerprint: bytes
    count: int
    shape: tuple[int, ...]
    code_check: int


def overhead(dimensions: int) -> int:
    """Bytes of a file beyond its payload."""
    return _FIXED.size + 4 * dimensions + 4 + _CHECK


def pack(header: Header, payload: bytes) -> bytes:
    """Header, payload and checksum."""
    head = _FIXED.pack(
        MAGIC,
        VERSION,
        header.mode,
        int(header.floating),
        len(header.shape),
        header.fingerprint,
        header.count,
    )
    tail = struct.pack(f"<{len(header.shape)}II", *header.shape, header.code_check)
    body = head + tail + payload
    return body + _digest(body)


def unpack(blob: bytes) -> tuple[Header, bytes]:
    """Header and payload, after the checksum of all bytes has been verified.

    Raises:
        CodecError: if the bytes are no such file, are truncated, or were altered.
    """
    blob = bytes(blob)
    if len(blob) < _FIXED.size + _CHECK:
        raise CodecError(f"expected at least {overhead(1)} bytes, got {len(blob)}: truncated")
    magic, version, mode, floating, dimensions, fingerprint, count = _FIXED.unpack_from(blob)
    if magic != MAGIC:
        raise CodecError(f"expected data that begin with {MAGIC!r}, got {magic!r}: not compressed")
    if version != VERSION:
        raise CodecError(f"version {version} of the format; this narrows reads version {VERSION}")
    body, check = blob[:-_CHECK], blob[-_CHECK:]
    if _digest(body) != check:
        raise CodecError("the checksum does not match: the data are truncated or damaged")
    end = _FIXED.size + 4 * dimensions + 4
    if mode not in (CODES, RESIDUAL, BITS_BACK) or floating > 1 or len(body) < end:
        raise CodecError("the header makes no sense: not written by Codec.compress")
    if not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise CodecError(f"expected 1 to {_MOST_DIMENSIONS} dimensions, got {dimensions}")
    *shape, code_check = struct.unpack_from(f"<{dimensions}II", body, _FIXED.size)
    header = Header(mode, bool(floating), fingerprint, count, tuple(shape), code_check)
    return header, body[end:]


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECK).digest()
