"""Codes to bytes and back."""

from narrows.codec.codec import Codec
from narrows.codec.container import CodecError, Limit

__all__ = ["Codec", "CodecError", "Limit"]
