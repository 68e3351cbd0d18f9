"""Latents, one family a file."""

from narrows.bottlenecks.base import Bottleneck

__all__ = ["Bottleneck"]
