"""Weighted sums of two templates plus noise: images whose latent truth is known.

After Pyle's slides "Sparse Variational Autoencoder" (2019), which use 10x10 and 5x5 images and
show neither the templates nor the law of the weights; ours are stated below.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from narrows.data.dataset import Dataset, Split
from narrows.data.splitting import split_rows

ABOUT = "weighted sums of two templates plus noise, made on the spot"
SHAPE = (1, 10, 10)
EXAMPLES = 6000


def load(
    *,
    size: int = 10,
    n: int = EXAMPLES,
    noise: float = 0.05,
    seed: int = 0,
) -> Dataset:
    """Makes the images; labels say which template weighs more.

    Args:
        size: side of the images; the slides have 10 and 5.
        n: number of images, of which a sixth each is for validation and test.
        noise: standard deviation of the normal noise on each pixel.
        seed: of weights, noise and split.

    Raises:
        ValueError: if the size is below 3, n below 30 or the noise negative.
    """
    if size < 3 or n < 30 or noise < 0:
        raise ValueError(
            f"expected size >= 3, n >= 30 and noise >= 0, got size={size}, n={n}, noise={noise}"
        )
    images, weights = draw(n, size, noise, seed)
    labels = (weights[:, 1] > weights[:, 0]).astype(np.int64)
    stored = torch.from_numpy(images.astype(np.float32))
    rows = split_rows(n, (n // 6, n // 6), seed, labels)
    train, held, test = (Split(stored[part], torch.from_numpy(labels[part])) for part in rows)
    note = f"two templates, weights uniform on [0, 1/2], noise {noise:g}, seed {seed}"
    return Dataset(f"templates {size}x{size}", train, held, test, ("first", "second"), note)


def draw(
    n: int, size: int, noise: float, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Images `[n, 1, size, size]` in [0, 1] and their weights `[n, 2]`.

    `x = clip(w_1 t_1 + w_2 t_2 + noise e, 0, 1)` with `w ~ U[0, 1/2]` independently and
    `e ~ N(0, 1)`: without noise nothing is clipped, and two numbers say everything.
    """
    random = np.random.default_rng(seed)
    weights = random.uniform(0, 0.5, (n, 2))
    clean = np.tensordot(weights, templates(size), 1)
    noisy = clean + noise * random.standard_normal(clean.shape)
    return np.clip(noisy, 0, 1)[:, None], weights


def templates(size: int) -> NDArray[np.float64]:
    """The two templates `[2, size, size]` in [0, 1]: a smooth ridge across, and one down."""
    place = (np.arange(size) + 0.5) / size
    across = np.exp(-0.5 * ((place - 1 / 3) / 0.15) ** 2)
    down = np.exp(-0.5 * ((place - 2 / 3) / 0.15) ** 2)
    ones = np.ones(size)
    return np.stack([np.outer(across, ones), np.outer(ones, down)])
