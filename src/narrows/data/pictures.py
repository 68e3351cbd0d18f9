"""One image file to one array: everything that can be wrong with it has a name."""

import warnings
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

MOST_PIXELS = 64_000_000  # 192 MB as RGB; a larger picture is taken for a decompression bomb
_PLAIN = {"1": 1, "L": 1, "RGB": 3}
_WITH_ALPHA = {"LA": 1, "La": 1, "RGBA": 3, "RGBa": 3, "PA": 3}


class UnusableImageError(ValueError):
    """A file that cannot be used as a picture; its message is the reason."""


def read_picture(
    source: Path | IO[bytes] | Image.Image,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
) -> NDArray[np.uint8]:
    """Decodes a picture to `[channels, height, width]` uint8.

    The orientation that a camera noted is applied. Where a size is asked for, the picture is
    scaled (Lanczos) until it covers that size and cropped about its centre. Transparent pixels
    are laid over white.

    Args:
        source: a file, an open one, or a Pillow image.
        size: height and width, or None for the picture's own.
        channels: 1 (grey by Rec. 601 luma) or 3, or None for the picture's own.

    Raises:
        UnusableImageError: if it is empty, damaged, truncated, too large, animated, CMYK, has more
            than 8 bits or is no image; the size is known before anything is decoded.
    """
    if isinstance(source, Path):
        if source.stat().st_size == 0:
            raise UnusableImageError("empty file")
        with source.open("rb") as file:
            return read_picture(file, size, channels)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own, about what is refused below
            image = source if isinstance(source, Image.Image) else Image.open(source)
            _check(image)
            image.load()
            image = _plain(ImageOps.exif_transpose(image))
            if channels is not None:
                image = image.convert("L" if channels == 1 else "RGB")
            if size is not None:
                image = ImageOps.fit(image, (size[1], size[0]), Image.Resampling.LANCZOS)
    except UnusableImageError:
        raise
    except UnidentifiedImageError:
        raise UnusableImageError("not an image that Pillow can read") from None
    except Image.DecompressionBombError as error:
        raise UnusableImageError(f"too large: {error}") from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError) as error:
        raise UnusableImageError(f"damaged: {error}") from None
    array = np.asarray(image, dtype=np.uint8)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def match_channels(picture: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """A grey picture among colour ones repeated, a colour one among grey ones by luma."""
    if picture.shape[0] == channels:
        return picture
    if channels == 3:
        return np.repeat(picture, 3, axis=0)
    luma = np.tensordot(np.array([0.299, 0.587, 0.114]), picture.astype(np.float64), 1)
    return np.rint(luma).astype(np.uint8)[None]


def _check(image: Image.Image) -> None:
    """Refuses by the header, before pixels cost time or memory."""
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise UnusableImageError(
            f"too large: {width}x{height} pixels, of which at most {MOST_PIXELS} are decoded"
        )
    if getattr(image, "n_frames", 1) > 1:
        raise UnusableImageError(f"animated: {getattr(image, 'n_frames', 1)} frames")
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        raise UnusableImageError(f"{image.mode} colours: convert to RGB by its colour profile")
    if image.mode.startswith("I") or image.mode == "F":
        raise UnusableImageError(f"more than 8 bits a channel (mode {image.mode}): convert to 8")


def _plain(image: Image.Image) -> Image.Image:
    """The image as 8-bit grey or RGB."""
    if image.mode in _PLAIN:
        return image.convert("L") if image.mode == "1" else image
    if image.mode == "P" and "transparency" not in image.info:
        return image.convert("RGB")
    if image.mode in _WITH_ALPHA or image.mode == "P":
        grey = _WITH_ALPHA.get(image.mode) == 1
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        flat = Image.alpha_composite(white, image).convert("RGB")
        return flat.convert("L") if grey else flat
    raise UnusableImageError(f"mode {image.mode}: convert to 8-bit grey or RGB")
