"""Codes to bytes and back."""

from narrows.codec.codec import Codec
from narrows.codec.errors import CodecError

__all__ = ["Codec", "CodecError"]
