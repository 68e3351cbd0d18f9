"""Does the notebook's quantiser take the nearest code?"""

from narrows.report import Block
from reproductions.claim import Claim, Evidence, Hypothesis, ratios
from reproductions.figures import dots, lines
from reproductions.verdict import Estimate
from reproductions.vq_notebook.learning import by_epoch
from reproductions.vq_notebook.models import trials

KINDS = ("farthest", "VQ", "VQ from data")


def figures(evidence: Evidence) -> list[Block]:
    """What it costs."""
    used = {kind: evidence.values("used", kind=kind) for kind in KINDS}
    return [
        lines(
            by_epoch(evidence, KINDS), across="epoch", quantity="held-out NMSE",
            caption="argmax, argmin, and argmin with codes that start on features.",
            logarithmic=(False, True),
        ),
        dots(used, quantity="share of codes used", caption="Of held-out sites."),
    ]  # fmt: skip


CLAIM = Claim(
    name="nearest-code",
    document="003",
    place="basic idea and vector quantizer layer",
    says="The quantiser replaces each feature vector by the nearest code.",
    hypotheses=(
        Hypothesis(
            "share of held-out sites that get their nearest code, the notebook's layer",
            "above",
            0.99,
            lambda e: Estimate.over_seeds(e.values("nearest_share", kind="farthest")),
        ),
        Hypothesis(
            "test NMSE of the notebook's layer over that of the nearest code",
            "below",
            1.1,
            lambda e: ratios(e.values("nmse", kind="farthest"), e.values("nmse", kind="VQ")),
        ),
        Hypothesis(
            "the same over that of the nearest code, codes that start on features",
            "below",
            1.1,
            lambda e: ratios(
                e.values("nmse", kind="farthest"), e.values("nmse", kind="VQ from data")
            ),
        ),
    ),
    trials=lambda scale: trials(scale, *KINDS),
    figures=figures,
    minutes=1.2,
    notes=("It takes the argmax of the distances where the text has the nearest.",),
)
