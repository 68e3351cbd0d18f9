"""scikit-learn's digits: 1,797 grey images of 8x8, the real data that needs no download."""

import numpy as np
import torch

from narrows.data.dataset import Dataset, Split
from narrows.data.splitting import split_rows

ABOUT = "handwritten digits of 8x8, shipped with scikit-learn"
SHAPE = (1, 8, 8)
EXAMPLES = 1797
SEED = 0
VALIDATION, TEST = 180, 360


def load() -> Dataset:
    """Loads the digits: 1,257 training, 180 validation and 360 test images, stratified.

    The 17 grey levels 0..16 become `round(255 v / 16)` in uint8, so that black and white stay
    0 and 1. The split is fixed by seed 0 whatever the seed of a run.

    Source: scikit-learn's copy of the test set of the UCI optical recognition of handwritten
    digits data set (Alpaydin and Kaynak, 1998).
    """
    from sklearn.datasets import load_digits

    pixels, target = load_digits(return_X_y=True)
    images = torch.from_numpy(np.rint(np.asarray(pixels) * 255 / 16).astype(np.uint8)).view(
        -1, *SHAPE
    )
    numbers = np.asarray(target, np.int64)
    labels = torch.from_numpy(numbers)
    rows = split_rows(len(images), (VALIDATION, TEST), SEED, numbers)
    train, validation, test = (Split(images[part], labels[part]) for part in rows)
    return Dataset(
        "digits",
        train,
        validation,
        test,
        classes=tuple(str(digit) for digit in range(10)),
        note=f"scikit-learn's digits; stratified split by seed {SEED}; 17 grey levels",
    )
