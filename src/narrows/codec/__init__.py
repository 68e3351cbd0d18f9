"""Codes to bytes and back."""

from narrows.codec.codec import Codec
from narrows.codec.errors import CodecError
from narrows.codec.limit import Limit

__all__ = ["Codec", "CodecError", "Limit"]
