"""What all contenders share: one network, one budget, one schedule."""

import math
from collections.abc import Mapping

SMALL = 48
"""Pixels a side, below which images have a narrower network and larger steps: in the same time it
trains on twice as many, which is worth more."""
TINY = 14
"""Pixels a side, below which one halving leaves few enough sites."""


def network(shape: tuple[int, ...], rate: float) -> dict[str, object]:
    """One network for all contenders: as many halvings as the bits that are asked for allow.

    At each site there should be room for the rate in some nine bits, which is a codebook of 512.
    Vectors have the default network.
    """
    if len(shape) != 3:
        return {}
    side, dimensions = min(shape[1:]), math.prod(shape)
    halvings = 1 if side < TINY else 2 if side < SMALL else 3
    while halvings > 1 and math.prod(shape[1:]) / 4**halvings * 9 < rate * dimensions:
        halvings -= 1
    hidden, layers = (32, 1) if side < SMALL else (64, 2)
    sizes = {"hidden": hidden, "residual_layers": layers, "residual_hidden": 32}
    sizes["downsamplings"] = halvings
    return {"class_path": "narrows.networks.Conv", "init_args": sizes}


def settings(shape: tuple[int, ...], rate: float, epochs: int, batch_size: int) -> dict[str, str]:
    """Of all runs at a rate, as the command line has them."""
    small = len(shape) == 3 and min(shape[1:]) < SMALL
    found = {
        "fit.epochs": str(epochs),
        "fit.batch_size": str(batch_size),
        "fit.optimization.learning_rate": "0.004" if small else "0.003",
        "fit.optimization.clip": "1.0",
        "fit.optimization.schedule": "narrows.training.OneCycle",
    }
    made = network(shape, rate)
    if made:
        found["model.network"] = str(made["class_path"])
        sizes = made["init_args"]
        assert isinstance(sizes, Mapping)
        found |= {f"model.network.{name}": str(value) for name, value in sizes.items()}
    return found
