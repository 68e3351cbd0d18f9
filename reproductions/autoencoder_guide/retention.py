"""What a classifier can still learn from reconstructions."""

from narrows.report import Block
from reproductions.autoencoder_guide.models import pairs
from reproductions.claim import Claim, Evidence, Hypothesis, differences
from reproductions.figures import dots

KINDS = ("ae", "vae")


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
    trials=pairs,
    figures=figures,
    minutes=5.0,
    notes=(
        "The document sets the task and gives no figure; five points of accuracy are our line. The "
        "classifier sees 2,000 images, so that its own accuracy is below what MNIST allows.",
    ),
)
