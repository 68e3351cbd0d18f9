"""Pictures made of pictures: grids of samples, rows of reconstructions."""

import io
import textwrap
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from narrows.report.blocks import Picture, Strips

GAP = 4
"""Pixels between tiles, transparent, so that the page's background shows."""
SMALLEST_TILE = 28
"""Small images are enlarged by whole factors until their longer side has this many pixels."""


def tile(images: ArrayLike, columns: int, room: int = 0) -> NDArray[np.uint8]:
    """Lays images `[n, channels, height, width]` in [0, 1] out in rows, as RGBA bytes.

    Values outside [0, 1] are clipped; the last row is filled with transparent tiles. With room
    for more images a lone row is filled up, too: tiles of equal room are shown at equal size.

    Raises:
        ValueError: unless there are images of 1 or 3 channels.
    """
    images = np.asarray(images, dtype=np.float64)
    if images.ndim != 4 or not len(images) or images.shape[1] not in (1, 3):
        raise ValueError(
            "expected images [n, channels, height, width] with 1 or 3 channels, got shape "
            f"{images.shape}"
        )
    n, _, height, width = images.shape
    pixels = (np.nan_to_num(images).clip(0, 1) * 255).round().astype(np.uint8)
    pixels = np.broadcast_to(pixels.transpose(0, 2, 3, 1), (n, height, width, 3))
    factor = max(1, -(-SMALLEST_TILE // max(height, width)))
    pixels = pixels.repeat(factor, 1).repeat(factor, 2)
    columns = min(columns, max(n, room))
    rows = -(-n // columns)
    high, wide = pixels.shape[1] + GAP, pixels.shape[2] + GAP
    canvas = np.zeros((rows * high - GAP, columns * wide - GAP, 4), dtype=np.uint8)
    for index, one in enumerate(pixels):
        top, left = index // columns * high, index % columns * wide
        canvas[top : top + high - GAP, left : left + wide - GAP, :3] = one
        canvas[top : top + high - GAP, left : left + wide - GAP, 3] = 255
    return canvas


def to_png(pixels: NDArray[np.uint8], *, colours: int | None = None) -> bytes:
    """RGB or RGBA bytes as a PNG file; with a palette of `colours`, in less than half the bytes."""
    buffer, image = io.BytesIO(), Image.fromarray(pixels)
    if colours is not None:
        image = image.convert("RGB").quantize(
            colours, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE
        )
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def grid(
    images: ArrayLike, *, what: str, columns: int = 8, caption: str = "", room: int = 0
) -> Picture:
    """A grid of images `[n, channels, height, width]` in [0, 1].

    Args:
        images: samples, dictionary atoms, latent maps, ...
        what: what they are, such as "samples of vq".
        columns: images per row.
        caption: what to look for; `what` if nothing is given.
        room: images that other grids beside this one have, so that tiles are of one size.
    """
    count = len(np.asarray(images))
    return Picture(to_png(tile(images, columns, room)), f"{count} {what}.", caption or what)


def strips(rows: Mapping[str, ArrayLike], *, caption: str) -> Strips:
    """One labelled row of images per entry: originals first, then each model's.

    Args:
        rows: label -> images `[n, channels, height, width]`, n the same in every row.
        caption: what to compare.

    Raises:
        ValueError: if the rows differ in length.
    """
    lengths = {label: len(np.asarray(images)) for label, images in rows.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"expected rows of equal length, got {lengths}")
    pictures = {
        label: Picture(to_png(tile(images, len(np.asarray(images)))), f"Row of {label}.", label)
        for label, images in rows.items()
    }
    return Strips(pictures, caption)


def labelled(rows: Strips) -> Picture:
    """Strips as one picture, the labels written at the left: for where there is no page."""
    files = {label: Image.open(io.BytesIO(row.data)) for label, row in rows.rows.items()}
    factor = max(1, 320 // max(file.width for file in files.values()))
    files = {
        label: file.resize((factor * file.width, factor * file.height), Image.Resampling.NEAREST)
        for label, file in files.items()
    }
    font = ImageFont.load_default(size=14)
    lines = {label: textwrap.wrap(label, 20) or [""] for label in files}
    high = {label: max(file.height, 18 * len(lines[label])) + GAP for label, file in files.items()}
    width = 160 + max(file.width for file in files.values())
    canvas = Image.new("RGB", (width, sum(high.values())), "white")
    draw, top = ImageDraw.Draw(canvas), 0
    for label, file in files.items():
        draw.text((2, top), "\n".join(lines[label]), fill="black", font=font)
        canvas.paste(file, (160, top), file)
        top += high[label]
    packed = to_png(np.asarray(canvas), colours=64)
    return Picture(packed, f"Rows: {', '.join(files)}.", rows.caption)


def stretch(images: ArrayLike, symmetric: bool = False) -> NDArray[np.float64]:
    """Scales each image to [0, 1]: what atoms and filters need before they are shown.

    Args:
        images: `[n, channels, height, width]`.
        symmetric: keep 0 at mid-grey, as for signed filters.
    """
    images = np.asarray(images, dtype=np.float64)
    axes = (1, 2, 3)
    if symmetric:
        largest = np.abs(images).max(axes, keepdims=True)
        return 0.5 + images / np.where(largest > 0, 2 * largest, 1)
    low, high = images.min(axes, keepdims=True), images.max(axes, keepdims=True)
    return (images - low) / np.where(high > low, high - low, 1)


def pca_rgb(maps: ArrayLike) -> NDArray[np.float64]:
    """Latent maps `[n, height, width, d]` as colours: their first three principal components.

    One basis for all maps; each component is scaled to [0, 1] over all of them, so that equal
    colours mean equal codes. Fewer than three components leave the rest at 0.

    Returns:
        Images `[n, 3, height, width]`.
    """
    maps = np.asarray(maps, dtype=np.float64)
    flat = maps.reshape(-1, maps.shape[-1])
    flat = flat - flat.mean(0)
    directions = np.linalg.svd(flat, full_matrices=False)[2][:3]
    parts = flat @ directions.T
    spread = np.ptp(parts, axis=0)
    spread[spread <= 1e-9 * spread.max()] = 0  # rounding is not a colour
    parts = parts * (spread > 0)
    colours = np.zeros((len(flat), 3))
    colours[:, : parts.shape[1]] = (parts - parts.min(0)) / np.where(spread > 0, spread, 1)
    return colours.reshape(*maps.shape[:-1], 3).transpose(0, 3, 1, 2)
