"""The data set of a synthetic world; the world itself is tested with the measures against it."""

import pytest
import torch

import narrows as nw
from narrows.data.loaders.superposition import Law, Superposition


def test_the_set_is_drawn_from_the_world_of_its_seed():
    data = nw.data.load("superposition", size=64, dim=16, n=200, l0=2, noise=0.0, seed=3)
    assert (data.shape, len(data.train), len(data.validation), len(data.test)) == (
        (16,),
        160,
        20,
        20,
    )
    world = Superposition(64, 16, law=Law(2, noise=0), seed=3)
    # Some sums of two or fewer features: each is in the plane of its two best.
    x = data.test.images

    few = [row for row in x if 0 < row.norm() < 1.2]
    best = torch.stack([(world.features @ row / row.norm()).max() for row in few])
    assert (best > 0.999).double().mean() > 0.5
    assert not torch.equal(data.train.images[:20], x)


def test_too_few_vectors_are_refused():
    with pytest.raises(ValueError, match="at least 30 vectors"):
        nw.data.load("superposition", n=3)
