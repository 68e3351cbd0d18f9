"""A convolutional network fills a hole."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder, Loss, Objective
from narrows.bottlenecks import Identity
from narrows.likelihoods import Normal
from narrows.networks import Conv, Mlp
from narrows.report import Block, strips
from narrows.tasks import Call, Result
from reproductions.autoencoder_guide.measures import small
from reproductions.autoencoder_guide.models import sizes
from reproductions.claim import Claim, Evidence, Hypothesis, ratios
from reproductions.figures import dots
from reproductions.training import Setting, copies, train, whole

KINDS = ("conv", "dense")
DIM = 64


class Inpainting(Objective):
    """The evidence bound of a whole image given the code of one with a square hole.

    Args:
        side: of the hole as a share of the image's; its place is drawn for each image.
    """

    def __init__(self, side: float = 0.3) -> None:
        self.side = side

    def loss(self, model: Autoencoder, x: Tensor) -> Loss:
        """The bound for a batch; places from the caller's random numbers."""
        return model.bound(x * ~holes(x, self.side), target=x)


def holes(x: Tensor, side: float, generator: torch.Generator | None = None) -> Tensor:
    """True in one square of each image, `[n, 1, height, width]`."""
    n, _, *shape = x.shape
    inside = []
    for length in shape:
        size = max(1, round(side * length))
        start = torch.randint(length - size + 1, (n, 1), generator=generator)
        place = torch.arange(length)
        inside.append((place >= start) & (place < start + size))
    return (inside[0][:, :, None] & inside[1][:, None, :])[:, None]


def filled(folder: Path, *, kind: str, **rest: Any) -> Result:
    """Trains one network to fill holes and measures the error inside them."""
    setting = Setting(**rest)
    data = setting.images()
    side = max(data.shape[1:])
    width = DIM // max(1, (side // 8) ** 2)
    network = Conv(32, 2, residual_hidden=8, downsamplings=3) if kind == "conv" else Mlp((512,))
    latent = Identity(max(1, width) if kind == "conv" else DIM)
    run = train(
        folder, data, latent, network, setting, likelihood=Normal(0.5), objective=Inpainting()
    )
    y = whole(data.test)
    hole = holes(y, 0.3, torch.Generator().manual_seed(0))
    again = copies(run.model, y * ~hole)
    usual = whole(data.train).mean(0)
    shown = torch.where(hole, again, y)
    return {
        "inside": float(((again - y).square() * hole).sum() / hole.sum()),
        "mean_image": float(((usual - y).square() * hole).sum() / hole.sum()),
        "holed": small((y * ~hole)[:10]),
        "filled": small(shown[:10]),
        "originals": small(y[:10]),
    }


def figures(evidence: Evidence) -> list[Block]:
    """Errors inside the hole, and pictures."""
    groups = {kind: evidence.values("inside", kind=kind) for kind in KINDS}
    groups |= {"the mean image": evidence.values("mean_image", kind="conv")}
    rows = {"originals": evidence.array("originals", kind="conv")}
    rows |= {"with a hole": evidence.array("holed", kind="conv")}
    rows |= {f"filled, {kind}": evidence.array("filled", kind=kind) for kind in KINDS}
    return [
        dots(groups, quantity="MSE inside the hole", caption="Held-out images."),
        strips(rows, caption="Held-out images, seed 0."),
    ]


CLAIM = Claim(
    name="convolutional-inpaints",
    document="002",
    place="1.1, question 2 (b)",
    says="Convolutional layers suit in-painting.",
    hypotheses=(
        Hypothesis(
            "squared error inside the hole, convolutional, over that of the mean image",
            "below",
            0.5,
            lambda e: ratios(e.values("inside", kind="conv"), e.values("mean_image", kind="conv")),
            since="2026-11-26",
        ),
        Hypothesis(
            "the same over that of a fully connected network",
            "below",
            1.0,
            lambda e: ratios(e.values("inside", kind="conv"), e.values("inside", kind="dense")),
            since="2026-11-26",
        ),
    ),
    trials=lambda scale: [
        Call(filled, {**sizes(scale), "epochs": scale.pick(1, 40, 25), "kind": kind, "seed": seed})
        for kind in KINDS
        for seed in range(scale.seeds)
    ],
    figures=figures,
    minutes=4.0,
    notes=("A square of 0.3 of the side; about as many numbers in the code of either network.",),
)
