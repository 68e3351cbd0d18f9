"""What a classifier can still learn from reconstructions."""

from pathlib import Path
from typing import Any

from narrows import metrics
from narrows.report import Block
from narrows.tasks import Call, Result
from reproductions.autoencoder_guide.measures import reader
from reproductions.autoencoder_guide.models import BASE, fitted, sizes
from reproductions.claim import Claim, Evidence, Hypothesis, Scale, differences
from reproductions.figures import dots
from reproductions.training import copies, labels, whole

KINDS = ("ae", "vae")
READ, EPOCHS = 1000, 5
"""Images and passes of the classifiers."""


def retained(folder: Path, **setting: Any) -> Result:
    """Trains a model, then classifiers on images and on its reconstructions of them."""
    examples, run = fitted(folder, **setting)
    model = run.model
    head = examples.train.head(READ)
    return metrics.retention(
        lambda x: copies(model, x),
        (whole(head), labels(head)),
        test=(whole(examples.test), labels(examples.test)),
        epochs=EPOCHS,
        seed=0,
        real=reader(setting["data"], len(head)),
    )


def trials(scale: Scale) -> list[Call]:
    """Both models with every seed."""
    shared = {**sizes(scale), **BASE, "epochs": scale.pick(1, 6, 25)}
    shared["dim"] = scale.pick(10, 128, 128)
    return [
        Call(retained, {**shared, "kind": kind, "seed": seed})
        for kind in KINDS
        for seed in range(scale.seeds)
    ]


def figures(evidence: Evidence) -> list[Block]:
    """Accuracies of the three pairings."""
    values = {"real on real": evidence.values("real_on_real", kind="ae")}
    for kind in KINDS:
        values[f"{kind} copies on real"] = evidence.values("reconstructed_on_real", kind=kind)
        values[f"real on {kind} copies"] = evidence.values("real_on_reconstructed", kind=kind)
    caption = "A convolutional classifier: trained on, tested on."
    return [dots(values, quantity="test accuracy", caption=caption)]


CLAIM = Claim(
    name="vae-retains-classes",
    document="002",
    place="2.2, task 4",
    says="A classifier trained on the VAE's reconstructions shows that the digits are retained.",
    hypotheses=(
        Hypothesis(
            "test accuracy on real images lost by training on VAE reconstructions instead",
            "below",
            0.05,
            lambda e: differences(
                e.values("real_on_real", kind="vae"), e.values("reconstructed_on_real", kind="vae")
            ),
        ),
    ),
    trials=trials,
    figures=figures,
    minutes=2.0,
    notes=(
        "The document sets the task and gives no figure; five points of accuracy are our line. The "
        "classifier sees 1,000 images, so that its own accuracy is below what MNIST allows.",
    ),
)
