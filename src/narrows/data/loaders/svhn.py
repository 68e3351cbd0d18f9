"""SVHN: 99,289 colour images of house numbers, 32x32."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from narrows.data.dataset import Dataset, Split
from narrows.data.reading.files import download, find
from narrows.data.splitting import set_aside

ABOUT = "house numbers from street views, colour"
SHAPE = (3, 32, 32)
EXAMPLES = 99_289
FOLDERS = ("svhn", "SVHN", "")
ADDRESS = "http://ufldl.stanford.edu/housenumbers/"
FILES = {
    "train_32x32.mat": "md5:e26dedcc434d2e4c54c9b2d4a06d8373",
    "test_32x32.mat": "md5:eb5a983be6a315427106f1b164d9cef3",
}


def present(root: Path | None = None) -> bool:
    """Whether both files are in the root or in the cache."""
    return all(find([name], FOLDERS, root) for name in FILES)


def load(root: Path | None = None, *, validation: int = 5000) -> Dataset:
    """Loads SVHN's cropped digits: 68,257 training, 5,000 validation and 26,032 test images.

    Source: Netzer et al., Reading digits in natural images with unsupervised feature learning,
    2011.
    """
    splits = []
    for name, known_hash in FILES.items():
        path = find([name], FOLDERS, root) or download(
            [ADDRESS + name], FOLDERS[0], known_hash=known_hash
        )
        images, labels = _read(path)
        splits.append(Split(torch.from_numpy(images), torch.from_numpy(labels)))
    train, held = set_aside(splits[0], validation)
    classes = tuple(str(digit) for digit in range(10))
    note = f"{validation} training images for validation"
    return Dataset("SVHN", train, held, splits[1], classes, note)


def _read(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images `[n, 3, 32, 32]` and labels of a MATLAB file that counts the digit 0 as 10."""
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=["X", "y"])
    except Exception as error:  # SciPy's reader raises whatever the bytes lead it to
        raise ValueError(f"{path} is truncated or damaged ({error}); fetch it again") from None
    images, labels = content.get("X"), content.get("y")
    if images is None or labels is None or images.shape[:3] != (32, 32, 3):
        raise ValueError(f"{path} is not one of SVHN's: it lacks X of [32, 32, 3, n] or y")
    if images.dtype != np.uint8 or labels.size != images.shape[3]:
        raise ValueError(f"{path} holds {images.dtype} images and {labels.size} labels")
    first = np.ascontiguousarray(images.transpose(3, 2, 0, 1))
    return first, labels.reshape(-1).astype(np.int64) % 10
