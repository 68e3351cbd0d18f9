"""What all contenders share: one network, one budget, one schedule."""

import math
from collections.abc import Mapping

SMALL = 48
"""Pixels a side, below which images have a narrower network and larger steps: in the same time it
trains on twice as many, which is worth more."""
TINY = 14
"""Pixels a side, below which one halving leaves few enough sites."""


def network(
    shape: tuple[int, ...], rate: float, *, features: int | None = None
) -> dict[str, object]:
    """One network for all contenders: as many halvings as the bits that are asked for allow.

    At each site there should be room for the rate in some nine bits, which is a codebook of 512.
    Sequences `(channels, t)` have convolutions along t, sequences `(t, d)` a transformer. Vectors
    have the default network.

    Args:
        shape: of one example.
        rate: bits per dimension.
        features: of data in their own units, which axis of an example holds the features.
    """
    if len(shape) not in (2, 3):
        return {}
    channels = len(shape) - 1 if features == len(shape) - 1 else 0
    axes = shape[:channels] + shape[channels + 1 :]
    side, dimensions = min(axes), math.prod(shape)
    most = 1 if side < TINY else 2 if side < SMALL else 3
    halvings = most * (2 if len(axes) == 1 else 1)  # so that a site covers as many numbers
    while halvings > 1 and math.prod(axes) / 2 ** (halvings * len(axes)) * 9 < rate * dimensions:
        halvings -= 1
    if len(axes) == 1 and channels:
        return {"class_path": "narrows.networks.Transformer", "init_args": {"patch": 2**halvings}}
    hidden, layers = (32, 1) if side < SMALL else (64, 2)
    sizes = {"hidden": hidden, "residual_layers": layers, "residual_hidden": 32}
    sizes["downsamplings"] = halvings
    return {"class_path": "narrows.networks.Conv", "init_args": sizes}


def settings(
    shape: tuple[int, ...], made: Mapping[str, object], *, epochs: int, batch_size: int
) -> dict[str, str]:
    """Of all runs with a network, as the command line has them."""
    small = len(shape) == 3 and min(shape[1:]) < SMALL
    found = {
        "fit.epochs": str(epochs),
        "fit.batch_size": str(batch_size),
        "fit.optimization.learning_rate": "0.004" if small else "0.003",
        "fit.optimization.clip": "1.0",
        "fit.optimization.schedule": "narrows.training.OneCycle",
    }
    if made:
        found["model.network"] = str(made["class_path"])
        sizes = made["init_args"]
        assert isinstance(sizes, Mapping)
        found |= {f"model.network.{name}": str(value) for name, value in sizes.items()}
    return found
