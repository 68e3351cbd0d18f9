"""CIFAR-10 in grey at a lower resolution."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from narrows.data.dataset import Dataset, Split
from narrows.data.loaders import cifar10

ABOUT = "CIFAR-10 in grey, sub-sampled"
SHAPE = (1, 16, 16)
EXAMPLES, present = cifar10.EXAMPLES, cifar10.present
_CHUNK = 5000


def load(root: Path | None = None, *, size: int = 16, validation: int = 5000) -> Dataset:
    """Loads CIFAR-10 as grey images of 16x16: Rec. 601 luma, averaged over blocks, in 8 bits.

    Pyle's slides "Sparse Variational Autoencoder" (2019) use such images and give no sizes; these
    are ours.

    Raises:
        ValueError: if the size is not 4, 8, 16 or 32.
    """
    if size not in (4, 8, 16, 32):
        raise ValueError(f"expected a size of 4, 8, 16 or 32, got {size}")
    data = cifar10.load(root, validation=validation)
    train, held, test = (
        Split(_grey(part.images, size), part.labels)
        for part in (data.train, data.validation, data.test)
    )
    name = f"{data.name} grey {size}x{size}"
    return replace(data, name=name, train=train, validation=held, test=test)


def _grey(images: Tensor, size: int) -> Tensor:
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    done = torch.empty(len(images), 1, size, size, dtype=torch.uint8)
    for start in range(0, len(images), _CHUNK):
        grey = (images[start : start + _CHUNK].float() * luma).sum(1, keepdim=True)
        blocks = torch.nn.functional.avg_pool2d(grey, 32 // size)
        done[start : start + _CHUNK] = blocks.round_().to(torch.uint8)
    return done
