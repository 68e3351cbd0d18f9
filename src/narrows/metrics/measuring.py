"""A model held still while something is measured with draws."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder, evaluating
from narrows.data.base import Split


@contextmanager
def measuring(model: Autoencoder, seed: int) -> Iterator[None]:
    """A block in which the model is in eval and random numbers are drawn from the seed.

    Modes of the model's parts and the caller's random numbers are as before afterwards.
    """
    device = next(model.parameters()).device
    with evaluating(model), torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def batches(model: Autoencoder, examples: Split | Tensor, batch_size: int) -> Iterator[Tensor]:
    """Examples in their order, `[batch, *shape]`, on the model's device."""
    device = next(model.parameters()).device
    for index in torch.arange(len(examples)).split(batch_size):
        x = examples.batch(index) if isinstance(examples, Split) else examples[index]
        yield x.to(device)
