"""Between images or sequences of any size and sites: padding, cropping, the order of axes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _margins(size: int, stride: int) -> tuple[int, int]:
    """Pixels to add before and after so that stride divides the size."""
    missing = -size % stride
    return missing // 2, missing - missing // 2


class Pad(nn.Module):
    """Checks a batch of images or sequences and repeats borders until the stride divides the sides.

    The border is repeated, not filled with 0, so that no edge appears that the image lacks.

    Args:
        shape: `(channels, height, width)` of every image, `(channels, t)` of every sequence.
        stride: pixels per site along each side.
    """

    def __init__(self, shape: tuple[int, ...], stride: int) -> None:
        super().__init__()
        self.shape: tuple[int, ...] = tuple(shape)
        self.margins: tuple[int, ...] = tuple(
            margin for size in shape[:0:-1] for margin in _margins(size, stride)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Data `[batch, *shape]` -> padded, images in channels-last memory."""
        check_batch(images, self.shape)
        if any(self.margins):
            images = F.pad(images, self.margins, mode="replicate")
        if images.dim() != 4:
            return images
        # Convolutions keep the memory format of their input: the sites' features then lie
        # side by side, and moving channels last is a view.
        return images.contiguous(memory_format=torch.channels_last)


class Crop(nn.Module):
    """Cuts off what `Pad` added.

    Args:
        shape: of one example before padding.
        stride: pixels per site along each side.
    """

    def __init__(self, shape: tuple[int, ...], stride: int) -> None:
        super().__init__()
        self.shape = shape
        starts = [_margins(size, stride)[0] for size in shape[1:]]
        self.kept: tuple[slice, ...] = tuple(
            slice(start, start + size) for start, size in zip(starts, shape[1:], strict=True)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Data of whole sites -> `[batch, channels, *shape[1:]]`."""
        return images[(..., *self.kept)]


class ChannelsLast(nn.Module):
    """`[batch, features, *sites]` -> `[batch, *sites, features]`, a view."""

    def forward(self, maps: Tensor) -> Tensor:
        """Moves the channels to the last axis."""
        return maps.movedim(1, -1)


class ChannelsFirst(nn.Module):
    """`[batch, *sites, features]` -> `[batch, features, *sites]`, a view.

    Args:
        sites: shape of the grid of sites.
        features: width of the last axis.
        name: of what comes, for messages.
    """

    def __init__(self, sites: tuple[int, ...], features: int, name: str = "z") -> None:
        super().__init__()
        self.shape: tuple[int, ...] = (*sites, features)
        self.name: str = name

    def forward(self, z: Tensor) -> Tensor:
        """Checks the shape and moves the channels before the sites."""
        check_batch(z, self.shape, self.name)
        return z.movedim(-1, 1)


def check_batch(batch: Tensor, shape: tuple[int, ...], name: str = "data") -> None:
    """Refuses a batch whose examples are not of the given shape.

    Raises:
        ValueError: names the shape required, the shape that came, and the likely reason.
    """
    if tuple(batch.shape[1:]) == shape and batch.dim() == len(shape) + 1:
        return
    wanted = ", ".join(("batch", *map(str, shape)))
    fix = "use examples of the shape the model was made for"
    if tuple(batch.shape) == shape:
        fix = "add a batch axis: x[None]"
    elif len(shape) == 3 and tuple(batch.shape[1:]) == (*shape[1:], shape[0]):
        fix = "channels come before height and width: x.permute(0, 3, 1, 2)"
    raise ValueError(f"expected {name} of shape [{wanted}], got {tuple(batch.shape)}; {fix}")
