"""Dividing examples into training, validation and test by a stated seed."""

import numpy as np
from numpy.typing import NDArray


def split_rows(
    n: int, sizes: tuple[int, int], seed: int, labels: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Rows of training, validation and test, each sorted; stratified where there are labels.

    Every class gives each part its share up to rounding: within a class rows are shuffled, and
    each is placed at its quantile; cutting all rows by quantile cuts every class alike.

    Args:
        n: number of examples.
        sizes: numbers of validation and test examples; the rest is for training.
        seed: of the shuffle.
        labels: `[n]` classes, or None for a plain shuffle.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(n)
    if labels is not None:
        quantile = np.empty(n)
        for label in np.unique(labels):
            rows = order[labels[order] == label]
            quantile[rows] = (np.arange(len(rows)) + random.random()) / len(rows)
        order = order[np.argsort(quantile[order], kind="stable")]
    validation, test = sizes
    parts = order[validation + test :], order[:validation], order[validation : validation + test]
    return tuple(np.sort(part) for part in parts)  # pyright: ignore[reportReturnType]
