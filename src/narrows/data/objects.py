"""A torchvision data set that the user already has, or any sequence of (image, label)."""

from typing import Protocol

import numpy as np
import torch
from PIL import Image

from narrows.data.arrays import Division, divide
from narrows.data.dataset import Array, Dataset
from narrows.data.pictures import UnusableImageError, read_picture


class Items(Protocol):
    """What torchvision's data sets are: `len(d)`, and `d[i]` -> image or (image, label)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> object: ...


def from_torchvision(
    train: Items,
    test: Items | None = None,
    *,
    name: str | None = None,
    validation: float = 0.1,
    labels: bool = True,
) -> Dataset:
    """Makes a data set of objects with `len(d)` and `d[i] -> (image, label)`.

    torchvision's own classes are read through their `data` and `targets` where they have them
    and no transform; others item by item. torchvision itself is not needed.

    Args:
        train: the training examples.
        test: the published test examples; without them a part of `train` is set aside.
        name: shown with every number; by default the class's name.
        validation: share of the training examples set aside for validation.
        labels: False to leave labels out, for instance if they are not classes.

    Raises:
        ValueError: as `from_array`, or if items are not images of one size.
    """
    given = [_arrays(one) for one in (train, test) if one is not None]
    images, targets = zip(*given, strict=True)
    if len({(one.shape[1:], one.dtype) for one in images}) > 1:
        found = " and ".join(f"{one.dtype} of shape {one.shape[1:]}" for one in images)
        raise ValueError(f"training and test examples must be alike, got {found}")
    if any(one is None for one in targets) or not labels:
        targets = None
    parts = None
    if test is not None:
        parts = np.repeat(["train", "test"], [len(one) for one in images])
    return divide(
        images[0] if test is None else np.concatenate(images),
        None if targets is None else np.concatenate(targets),
        name=name or type(train).__name__,
        division=Division((validation, validation), parts=parts),
        classes=getattr(train, "classes", None) or (),
    )


def _arrays(source: Items) -> tuple[Array, Array | None]:
    """All images in one array, and their labels if they have any."""
    whole = getattr(source, "data", None)
    targets = getattr(source, "targets", getattr(source, "labels", None))
    plain = getattr(source, "transform", None) is None
    if plain and isinstance(whole, (np.ndarray, torch.Tensor)) and len(whole) == len(source):
        return np.asarray(whole), None if targets is None else np.asarray(targets)
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
    if all(label is None for label in labels):
        return np.stack(images), None
    try:
        return np.stack(images), np.asarray(labels)
    except ValueError:
        raise ValueError("the labels are not classes; labels=False leaves them out") from None


def _item(image: object, place: int) -> Array:
    if isinstance(image, Image.Image):
        try:
            return read_picture(image)
        except UnusableImageError as error:
            raise ValueError(f"item {place} cannot be used: {error}") from None
    return np.asarray(image)
