"""One image file to one array: everything that can be wrong with it has a name."""

import contextlib
import mimetypes
import os
import re
import signal
import stat
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

MOST_PIXELS = 64_000_000  # 192 MB as RGB; a larger picture is taken for a decompression bomb
LONGEST = 20.0  # seconds that one picture may take
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP")
"""What Pillow may take a file for, whatever its name: decoders that run no other program."""
_MOST_SCANS = 200  # of a progressive JPEG, each of which is a pass over all pixels
_UNREAD = {".heic", ".heif", ".avif", ".jxl", ".jp2", ".dng", ".cr2", ".nef", ".arw", ".eps"}
_NO_PICTURES = ("MPEG", "HDF5", "GRIB", "BUFR", "PDF")  # of which Pillow knows the endings, too
_PLAIN = {"1": 1, "L": 1, "RGB": 3}
_WITH_ALPHA = {"LA": 1, "La": 1, "RGBA": 3, "RGBa": 3, "PA": 3}


class UnusableImageError(ValueError):
    """A file that cannot be used as a picture; its message is the reason."""


@cache
def endings() -> frozenset[str]:
    """Endings of the files that are read as pictures, by this Pillow: .png, .jpg, .jfif, ..."""
    known = Image.registered_extensions().items()
    return frozenset(end for end, kind in known if kind in _formats())


@cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow was built with."""
    Image.init()
    return tuple(kind for kind in FORMATS if kind in Image.OPEN)


def picture_files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Pictures below a folder, as `files_below` finds them."""
    return files_below(folder, _picture_kind)


def _picture_kind(end: str) -> str | None:
    if end in endings():
        return ""
    pillows = Image.registered_extensions().get(end, _NO_PICTURES[0]) not in _NO_PICTURES
    named = (mimetypes.guess_type(f"x{end}")[0] or "").startswith("image/")
    if end in _UNREAD or pillows or named:
        return f"files {end} are not read; convert to .png"
    return None


def files_below(
    folder: Path, kind: Callable[[str], str | None], above: tuple[Path, ...] = ()
) -> Iterator[tuple[Path, str]]:
    """Files below a folder, sorted, links followed; with the reason if one cannot be read.

    Subfolders that cannot be read, and links to a folder that they are in, are among them.

    Args:
        folder: where to look.
        kind: of a name's ending, in lower case: "" for files to read, the reason why they are not
            read, or None for files that are passed over in silence.
        above: folders that this one is in.
    """
    real = folder.resolve()
    if real in above:
        yield folder, "a link to a folder that it is in"
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield folder, f"this folder cannot be read ({error.strerror})"
        return
    for entry in entries:
        path, end = folder / entry.name, Path(entry.name).suffix.lower()
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from files_below(path, kind, (*above, real))
        elif (reason := kind(end)) is not None:
            yield path, reason


def read_picture(
    source: Path | IO[bytes] | Image.Image,
    size: tuple[int, int] | None = None,
    *,
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
        UnusableImageError: if it is empty, damaged, truncated, too large, too slow, animated, CMYK,
            has more than 8 bits or is not an image; the size is known before anything is decoded.
    """
    if isinstance(source, Path):
        found = source.stat()
        if not stat.S_ISREG(found.st_mode):
            raise UnusableImageError("not a regular file")
        if found.st_size == 0:
            raise UnusableImageError("empty file")
        with source.open("rb") as file:
            return read_picture(file, size, channels=channels)
    try:
        with warnings.catch_warnings(), _time_limit():
            warnings.simplefilter("ignore")  # Pillow's own, about what is refused below
            image = source if isinstance(source, Image.Image) else _open(source)
            _check(image)
            with _no_words() if image.format == "TIFF" else contextlib.nullcontext():
                image.load()
            image = _plain(ImageOps.exif_transpose(image))
            if channels is not None:
                image = image.convert("L" if channels == 1 else "RGB")
            if size is not None:
                image = ImageOps.fit(image, (size[1], size[0]), Image.Resampling.LANCZOS)
            array = np.asarray(image, dtype=np.uint8)
    except UnusableImageError:
        raise
    except UnidentifiedImageError:
        raise UnusableImageError("not an image of a format that is read") from None
    except Image.DecompressionBombError as error:
        raise UnusableImageError(f"too large: {error}") from None
    except Exception as error:  # decoders raise whatever the bytes lead them to
        raise UnusableImageError(f"damaged: {error or type(error).__name__}") from None
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def has_alpha(path: Path) -> bool:
    """True if a picture that `read_picture` takes says how transparent its pixels are."""
    with Image.open(path, formats=_formats()) as image:
        return image.mode in _WITH_ALPHA or "transparency" in image.info


def _open(file: IO[bytes]) -> Image.Image:
    """Opens by the content, whatever the name; refuses by the first bytes what Pillow would cut."""
    image = Image.open(file, formats=_formats())
    file.seek(0)
    if image.format in ("JPEG", "MPO") and file.read().count(b"\xff\xda") > _MOST_SCANS:
        raise UnusableImageError(f"more than {_MOST_SCANS} scans, each over all pixels")
    file.seek(0)
    head = file.read(1 << 12)
    layout = re.search(rb"ihdr.{10}(.)|\xff\x4f\xff\x51.{38}(.)|av1C.{2}(.)", head, re.DOTALL)
    if image.format in ("JPEG2000", "AVIF") and layout:
        depth = (layout[1] or layout[2] or b"\0")[0] & 0x7F
        if depth > 7 or (layout[3] or b"\0")[0] & 0x40:
            raise UnusableImageError("more than 8 bits a channel: convert to 8")
    return image


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    """Ends what takes longer than `LONGEST`: in the main thread, where the system has timers."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return

    def late(_number: int, _frame: FrameType | None) -> NoReturn:
        raise UnusableImageError(f"it takes more than {LONGEST:g} seconds to decode")

    before = signal.signal(signal.SIGALRM, late)
    others = signal.setitimer(signal.ITIMER_REAL, LONGEST)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *others)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _no_words() -> Iterator[None]:
    """A block in which nothing reaches stderr: libtiff writes there on damaged files."""
    try:
        kept = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


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
    # Pillow drops the lower byte of 16-bit colours, and scales the levels of PPM files.
    tiles = str(getattr(image, "tile", ""))
    levels = re.search(r"'(?:RGB|L)', (\d+)", tiles) if image.format == "PPM" else None
    deep = re.search(r"'(RGB\w*|LA);16", tiles) or (levels and int(levels[1]) > 255)
    if image.mode.startswith("I") or image.mode == "F" or deep:
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
