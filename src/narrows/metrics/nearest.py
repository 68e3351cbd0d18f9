"""Nearest training examples: did the model invent its samples or remember them?"""

from typing import NamedTuple

import torch
from torch import Tensor

_CHUNK = 1 << 24
"""Distances held at a time."""


class Nearest(NamedTuple):
    """The nearest training example of each query.

    Attributes:
        index: row of the training set, `[n]`.
        distance: Euclidean distance to it, `[n]`, in the unit of the data.
    """

    index: Tensor
    distance: Tensor


def nearest(queries: Tensor, train: Tensor) -> Nearest:
    """Finds the nearest training example of each query, in pixels or in features.

    Args:
        queries: `[n, ...]`.
        train: `[m, ...]`.

    Raises:
        ValueError: if the examples differ in shape or there are none.
    """
    if queries.shape[1:] != train.shape[1:] or not len(train):
        raise ValueError(
            f"expected training examples of shape {tuple(queries.shape[1:])}, got "
            f"{len(train)} of {tuple(train.shape[1:])}"
        )
    flat = train.flatten(1)
    parts = []
    for some in queries.flatten(1).split(max(1, _CHUNK // len(train))):
        # Differences, not the expanded square: a copy must be at distance 0 exactly.
        exact = torch.cdist(some, flat, compute_mode="donot_use_mm_for_euclid_dist")
        parts.append(exact.min(1))
    return Nearest(
        torch.cat([part.indices for part in parts]), torch.cat([part.values for part in parts])
    )


def novelty(samples: Tensor, train: Tensor, *, heldout: Tensor) -> float:
    """Median distance of samples to the training set, over that of held-out real examples.

    Near 1: as far from the training set as new real examples are. 0: copies. Above 1: further
    away than real examples, as blurred or broken samples are; it is not a measure of quality.

    Args:
        samples: `[n, ...]`.
        train: what the model was trained on.
        heldout: real examples that it was not trained on.

    Raises:
        ValueError: if the held-out examples are copies of training examples.
    """
    reference = nearest(heldout, train).distance.median().item()
    if reference == 0:
        raise ValueError("half of the held-out examples are in the training set: no reference")
    return nearest(samples, train).distance.median().item() / reference
