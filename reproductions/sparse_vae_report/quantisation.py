"""What does the high quantisation loss say?"""

from narrows.report import Block
from reproductions.claim import Claim, Evidence, Hypothesis, ratios
from reproductions.figures import dots
from reproductions.sparse_vae_report import pictures
from reproductions.sparse_vae_report.models import trials
from reproductions.verdict import Estimate

WRITTEN = "sparse as written"


def figures(evidence: Evidence) -> list[Block]:
    """What the code leaves of the features, read in order and scrambled."""
    groups = {
        "as written, read scrambled": evidence.values("quantization_nmse", kind=WRITTEN),
        "as written, the lasso's own residual": evidence.values("feature_nmse", kind=WRITTEN),
        "repaired": evidence.values("feature_nmse", kind="sparse"),
    }
    kinds = (WRITTEN, "VQ as written")
    return [
        pictures.curves(evidence, kinds, "loss_curve", "train quantisation loss"),
        dots(
            groups, quantity="share of the features' energy", caption="Held-out quantisation loss"
        ),
    ]


def plain(kind: str) -> Hypothesis:
    """Whether a sparse model acts as one without a bottleneck."""
    return Hypothesis(
        f"test NMSE, {kind}, over that of the same network without a bottleneck",
        "below",
        1.1,
        lambda e: ratios(e.values("nmse", kind=kind), e.values("nmse", kind="plain")),
    )


STAYS_HIGH = Claim(
    name="quantisation-loss-high",
    document="000",
    place="data, figure 3",
    says=(
        "The quantisation loss stays high, which shows that the dictionary shapes what the decoder "
        "is given."
    ),
    hypotheses=(
        Hypothesis(
            "quantisation loss over the features' energy, held out, as written",
            "above",
            0.5,
            lambda e: Estimate.over_seeds(e.values("quantization_nmse", kind=WRITTEN)),
        ),
        Hypothesis(
            "share of that loss that remains when the sum is read in order, as written",
            "above",
            0.5,
            lambda e: ratios(
                e.values("feature_nmse", kind=WRITTEN), e.values("quantization_nmse", kind=WRITTEN)
            ),
        ),
    ),
    trials=lambda scale: trials(scale, WRITTEN, "sparse", "VQ as written"),
    figures=figures,
    minutes=1.2,
    notes=(
        "The code reads sums of atoms, laid out channels last, as if channels came first, so that "
        "even a perfect code would show a loss of about twice the features' energy. The second "
        "number says how much is the dictionary's own: the report has 1/32 as many atoms as "
        "features, our default size with its 16 channels half as many.",
    ),
)

ACTS_AS_PLAIN = Claim(
    name="sparse-acts-as-plain",
    document="000",
    place="conclusion, on the missing sparsity",
    says="The sparse autoencoder may act no differently than one that ignores its dictionary.",
    hypotheses=(plain(WRITTEN), plain("sparse")),
    trials=lambda scale: trials(scale, WRITTEN, "sparse", "plain"),
    figures=lambda e: [
        dots(
            {k: e.values("nmse", kind=k) for k in (WRITTEN, "sparse", "plain")},
            quantity="test NMSE", caption="The same network behind each."
        )
    ],
    minutes=1.7,
    notes=(
        "If it ignored the dictionary it would reconstruct as well as no bottleneck at all, within "
        "a tenth.",
    ),
)  # fmt: skip
CLAIMS = (STAYS_HIGH, ACTS_AS_PLAIN)
