"""What the loop keeps from step to step."""

import torch

import narrows as nw
from narrows.bottlenecks import VectorQuantizer
from narrows.networks import Conv
from narrows.training import Engine, Optimization
from narrows.training.loop import Loop


def test_the_epochs_figures_hold_no_graph():
    """Sums that kept their graph would hold every step of the epoch in memory."""
    data = nw.data.load("digits")
    torch.manual_seed(0)
    model = nw.Autoencoder.for_images(data.shape, VectorQuantizer(8, 4), network=Conv(hidden=8))
    loop = Loop(
        Engine().fabric(), model, train=data.train.head(128), optimization=Optimization(),
        engine=Engine(), batch_size=64, seed=0,
    )  # fmt: skip
    seen = []
    loop.finish_epoch(2, (), lambda: seen.append(dict(loop.sums)))
    assert len(seen) == 2
    assert {"loss", "nll", "commitment"} <= seen[-1].keys()
    assert not any(value.requires_grad for sums in seen for value in sums.values())
