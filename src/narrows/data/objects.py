"""A torchvision data set that the user already has, or any sequence of (image, label)."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from narrows.data.arrays import from_array, infer_layout, to_tensor
from narrows.data.dataset import Dataset, Split
from narrows.data.pictures import UnusableImageError, read_picture
from narrows.data.reading.idx import set_aside


def from_torchvision(
    train: Any, test: Any = None, *, name: str | None = None, validation: float = 0.1
) -> Dataset:
    """Makes a data set of objects with `len(d)` and `d[i] -> (image, label)`.

    torchvision's own classes are read through their `data` and `targets` where they have them
    and no transform; others item by item. torchvision itself is not needed.

    Args:
        train: the training examples.
        test: the published test examples; without them a part of `train` is set aside.
        name: shown with every number; by default the class's name.
        validation: share of the training examples set aside for validation.

    Raises:
        ValueError: if items are not images of one size, or a share is not between 0 and 1.
    """
    title = name or type(train).__name__
    classes = getattr(train, "classes", None)
    images, labels = _arrays(train)
    if test is None:
        data = from_array(images, labels, name=title, fractions=(validation, validation))
        names = tuple(map(str, classes)) if classes else data.classes
        return Dataset(title, data.train, data.validation, data.test, names, data.note)
    parts = [_split(images, labels), _split(*_arrays(test))]
    kept, held = set_aside(parts[0], round(validation * len(parts[0])))
    names = tuple(map(str, classes)) if classes else None
    return Dataset(title, kept, held, parts[1], names, "published test split")


def _split(images: NDArray[Any], labels: NDArray[np.int64] | None) -> Split:
    stored = to_tensor(images, infer_layout(images.shape))
    return Split(stored, None if labels is None else torch.from_numpy(labels))


def _arrays(source: Any) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
    """All images in one array, and their labels where they are integers."""
    whole = getattr(source, "data", None)
    targets = getattr(source, "targets", getattr(source, "labels", None))
    plain = getattr(source, "transform", None) is None
    if plain and isinstance(whole, (np.ndarray, torch.Tensor)) and len(whole) == len(source):
        return np.asarray(whole), None if targets is None else np.asarray(targets, np.int64)
    images, labels = [], []
    for place in range(len(source)):
        item = source[place]
        image, label = item if isinstance(item, tuple) and len(item) == 2 else (item, None)
        images.append(_item(image, place))
        labels.append(label)
    shapes = {image.shape for image in images}
    if len(shapes) != 1:
        raise ValueError(f"expected images of one shape, got {sorted(shapes)[:3]}; resize them")
    numbered = all(isinstance(label, (int, np.integer)) for label in labels)
    return np.stack(images), np.array(labels, np.int64) if numbered else None


def _item(image: Any, place: int) -> NDArray[Any]:
    if isinstance(image, Image.Image):
        try:
            return read_picture(image)
        except UnusableImageError as error:
            raise ValueError(f"item {place} cannot be used: {error}") from None
    return np.asarray(image)
