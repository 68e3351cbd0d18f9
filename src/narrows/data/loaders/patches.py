"""Patches of natural photographs, whitened or as they are: the classical food of sparse coding."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from narrows.data.dataset import Dataset, Split

ABOUT = "patches of the photographs that scikit-learn (or scikit-image) ships"
SHAPE = (64,)
EXAMPLES = 30_000
Photographs = Literal["scikit-learn", "scikit-image"]
_LUMA = np.array([0.299, 0.587, 0.114])


def load(
    *,
    size: int = 8,
    n: int = EXAMPLES,
    whiten: bool = True,
    photographs: Photographs = "scikit-learn",
    seed: int = 0,
) -> Dataset:
    """Cuts n grey patches at random places.

    Of every photograph the left 70 % of the columns are for training, the next 15 % for
    validation and the last 15 % for test: patches of different splits never overlap. Whitened
    patches are vectors `[size^2]` with unit variance over training; others are 8-bit images.

    Args:
        size: side of a patch.
        n: number of patches; two thirds are for training, a sixth for each other part.
        whiten: whether to flatten the spectrum of each photograph first.
        photographs: whose; scikit-image is an extra, with more and more varied ones.
        seed: of the places.

    Raises:
        ValueError: if the patches are too large or too few.
        ModuleNotFoundError: if scikit-image is asked for and not installed.
    """
    pictures = _photographs(photographs)
    widest = min(int(min(picture.shape[0], 0.15 * picture.shape[1])) for picture in pictures)
    if not 2 <= size <= widest or n < 60:
        raise ValueError(f"expected 2 <= size <= {widest} and n >= 60, got size={size}, n={n}")
    if whiten:
        pictures = [whitened(picture) for picture in pictures]
    random = np.random.default_rng(seed)
    parts = [
        _cut(pictures, bounds, count, size, random)
        for bounds, count in zip(
            ((0.0, 0.7), (0.7, 0.85), (0.85, 1.0)), (n - 2 * (n // 6), n // 6, n // 6), strict=True
        )
    ]
    note = f"{len(pictures)} photographs of {photographs}, split by columns, seed {seed}"
    if whiten:
        scale = parts[0].std()
        stored = [(part / scale).reshape(len(part), -1).astype(np.float32) for part in parts]
    else:
        stored = [np.rint(part).astype(np.uint8)[:, None] for part in parts]
    train, held, test = (Split(torch.from_numpy(part)) for part in stored)
    return Dataset("whitened patches" if whiten else "patches", train, held, test, note=note)


def whitened(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    """A photograph with a flat spectrum up to a cutoff: filtered by `|f| exp(-(|f|/f0)^4)`.

    Natural amplitude falls as 1/|f|; the second factor keeps the noise of the highest
    frequencies, and the corners of the grid, from being raised with it. f0 = 0.4 cycles a pixel.

    Source: Olshausen and Field, Vision Research 37, 1997, section 4 (f0 = 200 cycles a picture
    of 512 pixels there).
    """
    rows, columns = picture.shape
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(columns)[None])
    kernel = frequency * np.exp(-((frequency / 0.4) ** 4))
    filtered = np.fft.ifft2(np.fft.fft2(picture - picture.mean()) * kernel).real
    return filtered / filtered.std()


def _cut(
    pictures: list[NDArray[np.float64]],
    bounds: tuple[float, float],
    count: int,
    size: int,
    random: np.random.Generator,
) -> NDArray[np.float64]:
    """Patches `[count, size, size]`, equally many of each photograph, from a range of columns."""
    patches = np.empty((count, size, size))
    for row in range(count):
        picture = pictures[row % len(pictures)]
        height, width = picture.shape
        left, right = int(bounds[0] * width), int(bounds[1] * width)
        y = random.integers(0, height - size + 1)
        x = random.integers(left, right - size + 1)
        patches[row] = picture[y : y + size, x : x + size]
    return patches


def _photographs(source: Photographs) -> list[NDArray[np.float64]]:
    """Grey photographs with values 0..255."""
    if source == "scikit-learn":
        from sklearn.datasets import load_sample_images

        colour = [np.asarray(image, np.float64) for image in load_sample_images().images]
    elif source == "scikit-image":
        try:
            from skimage import data
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                "photographs of scikit-image need it: pip install scikit-image"
            ) from None
        names = ("astronaut", "camera", "coffee", "chelsea", "rocket", "brick", "grass", "gravel")
        colour = [np.asarray(getattr(data, name)(), np.float64) for name in names]
    else:
        raise ValueError(f"expected scikit-learn or scikit-image, got {source!r}")
    return [image if image.ndim == 2 else image[..., :3] @ _LUMA for image in colour]
