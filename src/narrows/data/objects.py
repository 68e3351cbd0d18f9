"""A torchvision data set that the user already has, or any sequence of (image, label)."""

from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from PIL import Image

from narrows.data.arrays import from_array, infer_layout, to_tensor
from narrows.data.dataset import Array, Dataset, Split
from narrows.data.pictures import UnusableImageError, read_picture
from narrows.data.splitting import Rows, set_aside


class Items(Protocol):
    """What torchvision's data sets are: `len(d)`, and `d[i]` -> image or (image, label)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> object: ...


def from_torchvision(
    train: Items, test: Items | None = None, *, name: str | None = None, validation: float = 0.1
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
    names = tuple(map(str, classes)) if classes else None
    images, labels = _arrays(train)
    if test is None:
        data = from_array(images, labels, name=title, fractions=(validation, validation))
        return replace(data, classes=names or data.classes)
    whole, published = _split(images, labels), _split(*_arrays(test))
    kept, held = set_aside(whole, round(validation * len(whole)))
    return Dataset(title, kept, held, published, names, "published test split")


def _split(images: Array, labels: Rows | None) -> Split:
    stored = to_tensor(images, infer_layout(images.shape))
    return Split(stored, None if labels is None else torch.from_numpy(labels))


def _arrays(source: Items) -> tuple[Array, Rows | None]:
    """All images in one array, and their labels where they are integers."""
    whole = getattr(source, "data", None)
    targets = getattr(source, "targets", getattr(source, "labels", None))
    plain = getattr(source, "transform", None) is None
    if plain and isinstance(whole, (np.ndarray, torch.Tensor)) and len(whole) == len(source):
        return np.asarray(whole), None if targets is None else np.asarray(targets, np.int64)
    images: list[Array] = []
    labels: list[object] = []
    for place in range(len(source)):
        match source[place]:
            case (image, label):
                labels.append(label)
            case image:
                labels.append(None)
        images.append(_item(image, place))
    shapes = {image.shape for image in images}
    if len(shapes) != 1:
        raise ValueError(f"expected images of one shape, got {sorted(shapes)[:3]}; resize them")
    numbered = all(isinstance(label, (int, np.integer)) for label in labels)
    return np.stack(images), np.array(labels, np.int64) if numbered else None


def _item(image: object, place: int) -> Array:
    if isinstance(image, Image.Image):
        try:
            return read_picture(image)
        except UnusableImageError as error:
            raise ValueError(f"item {place} cannot be used: {error}") from None
    return np.asarray(image)
