"""Bottlenecks in the models of other libraries, and their encoders in narrows' models.

`swap` puts a bottleneck into a model in place of its own; `cache` writes the latents of a data set,
on which bottlenecks are compared; `Pretrained` makes its encoder and decoder a network.
"""

from narrows.interop.cache import cache as cache
from narrows.interop.parts import Parts as Parts
from narrows.interop.parts import Swapped as Swapped
from narrows.interop.parts import parts as parts
from narrows.interop.parts import swap as swap
from narrows.interop.pretrained import Pretrained as Pretrained

__all__ = ["Parts", "Pretrained", "Swapped", "cache", "parts", "swap"]
