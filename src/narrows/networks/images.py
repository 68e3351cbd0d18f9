"""Between images of any size and a grid of sites: padding, cropping, the order of axes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _margins(size: int, stride: int) -> tuple[int, int]:
    """Pixels to add before and after so that stride divides the size."""
    missing = -size % stride
    return missing // 2, missing - missing // 2


class Pad(nn.Module):
    """Checks a batch of images and repeats their border until the stride divides the sides.

    The border is repeated, not filled with 0, so that no edge appears that the image lacks.

    Args:
        shape: `(channels, height, width)` of every image.
        stride: pixels per site along each side.
    """

    def __init__(self, shape: tuple[int, ...], stride: int) -> None:
        super().__init__()
        self.shape: tuple[int, ...] = tuple(shape)
        self.margins: tuple[int, ...] = (*_margins(shape[2], stride), *_margins(shape[1], stride))

    def forward(self, images: Tensor) -> Tensor:
        """Images `[batch, channels, height, width]` -> padded, in channels-last memory."""
        check_batch(images, self.shape)
        if any(self.margins):
            images = F.pad(images, self.margins, mode="replicate")
        # Convolutions keep the memory format of their input: the sites' features then lie
        # side by side, and moving channels last is a view.
        return images.contiguous(memory_format=torch.channels_last)


class Crop(nn.Module):
    """Cuts off what `Pad` added.

    Args:
        shape: `(channels, height, width)` of the images before padding.
        stride: pixels per site along each side.
    """

    def __init__(self, shape: tuple[int, ...], stride: int) -> None:
        super().__init__()
        self.shape = shape
        self.start: tuple[int, ...] = tuple(_margins(size, stride)[0] for size in shape[1:])

    def forward(self, images: Tensor) -> Tensor:
        """Images of whole sites -> `[batch, channels, height, width]`."""
        (top, left), (_, height, width) = self.start, self.shape
        return images[..., top : top + height, left : left + width]


class ChannelsLast(nn.Module):
    """`[batch, features, height, width]` -> `[batch, height, width, features]`, a view."""

    def forward(self, maps: Tensor) -> Tensor:
        """Moves the channels to the last axis."""
        return maps.permute(0, 2, 3, 1)


class ChannelsFirst(nn.Module):
    """`[batch, height, width, features]` -> `[batch, features, height, width]`, a view.

    Args:
        sites: height and width of the grid of sites.
        features: width of the last axis.
    """

    def __init__(self, sites: tuple[int, ...], features: int) -> None:
        super().__init__()
        self.shape: tuple[int, ...] = (*sites, features)

    def forward(self, z: Tensor) -> Tensor:
        """Checks the shape and moves the channels before the sites."""
        check_batch(z, self.shape, "z")
        return z.permute(0, 3, 1, 2)


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
