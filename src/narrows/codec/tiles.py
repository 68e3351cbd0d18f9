"""Images larger than a model's, cut into tiles of its size."""

import torch.nn.functional as F
from torch import Tensor


def grid(shape: tuple[int, ...], tile: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of tiles that cover an image of shape `(channels, height, width)`.

    Raises:
        ValueError: if the channels differ, or a side is 0.
    """
    if len(shape) != 3 or len(tile) != 3 or shape[0] != tile[0] or min(shape) < 1:
        raise ValueError(
            f"expected images with {tile[0]} channels for a model of {tuple(tile)}, got "
            f"{tuple(shape)}; convert the images (grey or RGB) or use another model"
        )
    return -(-shape[1] // tile[1]), -(-shape[2] // tile[2])


def cut(images: Tensor, tile: tuple[int, ...]) -> Tensor:
    """`[n, c, H, W]` -> `[n * rows * columns, c, h, w]`; the last row and column are repeated."""
    rows, columns = grid(tuple(images.shape[1:]), tile)
    _, height, width = tile
    bottom, right = rows * height - images.shape[2], columns * width - images.shape[3]
    if bottom or right:
        kind = images.dtype
        images = F.pad(images.float(), (0, right, 0, bottom), mode="replicate").to(kind)
    parts = images.unflatten(3, (columns, width)).unflatten(2, (rows, height))
    return parts.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


def join(tiles: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Undoes `cut` for images of the given shape."""
    rows, columns = grid(shape, tuple(tiles.shape[1:]))
    parts = tiles.unflatten(0, (-1, rows, columns)).permute(0, 3, 1, 4, 2, 5)
    return parts.flatten(4, 5).flatten(2, 3)[:, :, : shape[1], : shape[2]]
