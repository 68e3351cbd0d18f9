"""AE, VAE and VQ-VAE beside each other, and the document's own training."""

import numpy as np

from narrows.report import Block, strips
from reproductions.claim import Claim, Evidence, Hypothesis, ratios
from reproductions.figures import dots, lines
from reproductions.vq_notebook.learning import by_epoch
from reproductions.vq_report.models import KINDS, trials


def _rows(evidence: Evidence, **names: tuple[str, str]) -> Block:
    rows = {k: evidence.array(figure, kind=kind) for k, (figure, kind) in names.items()}
    shown = {k.replace("_", " "): np.asarray(v, dtype=float).clip(0, 1) for k, v in rows.items()}
    return strips(shown, caption="Seed 0.")


def training(evidence: Evidence) -> list[Block]:
    """The document's two figures: copies after the first and last epoch, and the loss."""
    return [
        _rows(
            evidence, originals=("originals", "VQ"), after_the_first_epoch=("copies_first", "VQ"),
            after_the_last=("copies", "VQ"),
        ),
        lines(
            by_epoch(evidence, ("VQ",), "train_curve"), across="epoch", quantity="train NMSE",
            caption="Training loss over epochs.", logarithmic=(False, True),
        ),
    ]  # fmt: skip


def beside(evidence: Evidence) -> list[Block]:
    """All three: errors and draws."""
    errors = {kind: evidence.values("nmse", kind=kind) for kind in KINDS}
    return [
        dots(errors, quantity="test NMSE", caption="Each at its own rate."),
        _rows(
            evidence, originals=("originals", "VQ"), AE=("copies", "AE"), VAE=("copies", "VAE"),
            VQ=("copies", "VQ"), draws_of_AE=("samples", "AE"), draws_of_VAE=("samples", "VAE"),
            draws_of_VQ=("samples", "VQ"),
        ),
    ]  # fmt: skip


CLAIMS = (
    Claim(
        name="vq-loss-curve",
        document="004",
        place="results, figures",
        says="Ten epochs at its settings bring the training loss down.",
        hypotheses=(
            Hypothesis(
                "train NMSE after the last epoch over that after the first",
                "below",
                0.5,
                lambda e: ratios(
                    e.values("nmse_train", kind="VQ"), e.values("nmse_train_first", kind="VQ")
                ),
            ),
        ),
        trials=lambda scale: trials(scale, "VQ"),
        course=True,
        figures=training,
        minutes=0.6,
        notes=(
            "Its 40 channels, 512 codes, batch of 64 and rate of 2e-4 are those of --full; by "
            "default 16, 128, 32 and 1e-3 on 1,000 images.",
        ),
    ),
    Claim(
        name="vq-improves-on-vae",
        document="004",
        place="introduction and summary",
        says="The VQ-VAE improves on the VAE.",
        hypotheses=(
            Hypothesis(
                "test NMSE of the VQ-VAE over that of the VAE (a draw of its posterior)",
                "below",
                1.0,
                lambda e: ratios(e.values("nmse", kind="VQ"), e.values("nmse", kind="VAE")),
            ),
        ),
        trials=trials,
        figures=beside,
        minutes=1.5,
        notes=("Same network; each at its own rate, which the document does not mention.",),
    ),
)
