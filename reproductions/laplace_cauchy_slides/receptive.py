"""Do Laplace codes of natural scenes have retina-like receptive fields?"""

import numpy as np
import torch

from narrows.report import Block, Gallery, grid, stretch
from narrows.tasks import Call, Outcome
from reproductions.centre_surround import centre_surround
from reproductions.claim import Claim, Evidence, Hypothesis, differences
from reproductions.figures import dots
from reproductions.laplace_cauchy_slides.models import KINDS, SCENES
from reproductions.verdict import Estimate

USED = 0.05
"""Nats per image that a unit must carry to be looked at."""


def scores(outcome: Outcome[Call]) -> torch.Tensor:
    """Centre-surround R2 of each used unit's field."""
    used = np.asarray(outcome.result["kl"]) > USED
    fields = torch.from_numpy(np.asarray(outcome.result["fields"], dtype=np.float64))[:, 0]
    return centre_surround(fields[torch.from_numpy(used)]) if used.any() else torch.zeros(1)


def medians(evidence: Evidence, kind: str) -> list[float]:
    """Median R2 of the used units, by seed."""
    return [float(scores(outcome).median()) for outcome in evidence.where(kind=kind)]


def figures(evidence: Evidence) -> list[Block]:
    """The fields themselves, and how much of them a difference of two Gaussians explains."""
    fields = [
        grid(
            stretch(evidence.array("fields", kind=kind), symmetric=True),
            what=f"fields of the {kind} model",
            columns=8,
            caption=f"{kind}: the image's change with each coordinate, grey is none, seed 0.",
        )
        for kind in KINDS
    ]
    values = {kind: medians(evidence, kind) for kind in KINDS}
    quantity = "median R2 of the best centre and surround"
    caption = "How much of a field's energy a concentric difference of Gaussians explains."
    return [Gallery(fields), dots(values, quantity=quantity, caption=caption)]


CLAIM = Claim(
    name="retina-fields",
    document="001",
    place="conclusions, third point",
    says="On natural scenes the Laplace model comes near a retina's receptive fields.",
    hypotheses=(
        Hypothesis(
            "median R2 of the best concentric difference of Gaussians over the used units, laplace",
            "above",
            0.5,
            lambda e: Estimate.over_seeds(medians(e, "laplace")),
        ),
        Hypothesis(
            "the same: laplace less normal",
            "above",
            0.0,
            lambda e: differences(medians(e, "laplace"), medians(e, "normal")),
        ),
    ),
    trials=SCENES.trials,
    figures=figures,
    minutes=0.7,
    needs="cifar10",
    notes=(
        "Retina-like is taken to mean a centre with a surround of the opposite sign: the fit has "
        "one place, two widths and amplitudes of opposite sign. The fields are the decoder's, as "
        "in the document's own account of Olshausen and Field; with one layer they do not depend "
        f"on the code. Used: more than {USED} nats an image.",
    ),
)
