"""Is the notebook's error that of its sparse code?"""

from narrows.report import Block
from reproductions.claim import Claim, Evidence, Hypothesis, ratios
from reproductions.figures import dots, lines
from reproductions.verdict import Estimate
from reproductions.vq_notebook.learning import by_epoch
from reproductions.vq_notebook.models import trials

WRITTEN = "dictionary as written"
KINDS = (WRITTEN, "dictionary", "dense")


def figures(evidence: Evidence) -> list[Block]:
    """The error that the notebook prints, beside those of the code and of no code."""
    groups = {
        "as written, as printed (leaking)": evidence.values("nmse_given", kind=WRITTEN),
        "as written, from the code alone": evidence.values("nmse", kind=WRITTEN),
        "repaired": evidence.values("nmse", kind="dictionary"),
        "no bottleneck": evidence.values("nmse", kind="dense"),
    }
    return [
        dots(groups, quantity="test NMSE", caption="0.035 in context.", logarithmic=True),
        lines(
            by_epoch(evidence, KINDS, "train_curve"), across="epoch", quantity="train NMSE",
            caption="As the notebook prints it.", logarithmic=(False, True),
        ),
    ]  # fmt: skip


MEASURES_THE_CODE = Claim(
    name="dictionary-error-is-the-codes",
    document="003",
    place="training log, NMSE 0.035 at sparsity level 0.195, and reconstructions",
    says="A code of 100 of 512 atoms a site reconstructs with an NMSE of 0.035.",
    hypotheses=(
        Hypothesis(
            "test NMSE from the code alone over that which the notebook prints",
            "below",
            1.5,
            lambda e: ratios(e.values("nmse", kind=WRITTEN), e.values("nmse_given", kind=WRITTEN)),
        ),
        Hypothesis(
            "energy of the features that cannot be read off the decoder's input, as a share",
            "above",
            0.01,
            lambda e: Estimate.over_seeds(e.values("features_unread", kind=WRITTEN)),
        ),
    ),
    trials=lambda scale: trials(scale, *KINDS),
    figures=figures,
    minutes=1.2,
    notes=(
        "The decoder is given 2q - x, so that 2q less its input is the dense feature map x.",
    ),
)  # fmt: skip
AGAINST_DENSE = Claim(
    name="dictionary-error-beside-dense",
    ours=True,
    document="003",
    place="training log, NMSE 0.035",
    says="The dictionary's reconstructions are good for what it keeps of the features.",
    hypotheses=(
        Hypothesis(
            "test NMSE as printed (leaking) over that of the same network without a bottleneck",
            "below",
            1.0,
            lambda e: ratios(e.values("nmse_given", kind=WRITTEN), e.values("nmse", kind="dense")),
        ),
        Hypothesis(
            "test NMSE, repaired, over that of the same network without a bottleneck",
            "below",
            1.5,
            lambda e: ratios(e.values("nmse", kind="dictionary"), e.values("nmse", kind="dense")),
        ),
    ),
    trials=lambda scale: trials(scale, *KINDS),
    figures=figures,
    minutes=1.2,
    notes=(
        "What a dense path of the same network attains is the context for any error of a model "
        "with such a path. The bound of the second number allows half as much error again.",
    ),
)
CLAIMS = (MEASURES_THE_CODE, AGAINST_DENSE)
