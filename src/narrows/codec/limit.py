"""How much a file may ask for before it is refused."""

import math
from dataclasses import dataclass

from narrows.codec.errors import CodecError


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
