"""Are Laplace and Cauchy latents sparse?"""

from pathlib import Path

from scipy import stats

from narrows.report import Block
from narrows.tasks import Call, Result
from reproductions.claim import Claim, Evidence, Former, Hypothesis, Scale, differences
from reproductions.figures import dots
from reproductions.laplace_cauchy_slides.models import DIGITS, KINDS
from reproductions.verdict import Estimate

LAWS = {"normal": stats.norm, "laplace": stats.laplace, "cauchy": stats.cauchy}


def mass_near_zero(folder: Path, *, width: float) -> Result:
    """P(|z| < width) of each law, scaled to the quartiles of the standard normal."""
    del folder
    found = {}
    for name, law in LAWS.items():
        scale = stats.norm.ppf(0.75) / law.ppf(0.75)
        found[name] = float(law.cdf(width / scale) - law.cdf(-width / scale))
    return found


def trials(scale: Scale) -> list[Call]:
    """The laws, and the codes of the three models."""
    return [Call(mass_near_zero, {"width": 0.1}), *DIGITS.trials(scale)]


def law(name: str, evidence: Evidence) -> float:
    """Mass near zero of one law."""
    return evidence.values(name, width=0.1)[0]


def figures(evidence: Evidence) -> list[Block]:
    """What the codes of trained models look like by two measures of sparsity."""
    hoyer = {kind: evidence.values("hoyer_code", kind=kind) for kind in KINDS}
    near = {kind: evidence.values("near_zero", kind=kind) for kind in KINDS}
    laws = ", ".join(f"{kind} {law(kind, evidence):.3f}" for kind in KINDS)
    return [
        dots(
            hoyer, quantity="Hoyer sparsity of the code", caption="0: all equal, 1: one coordinate."
        ),
        dots(near, quantity="share within 0.1", caption=f"The laws themselves have {laws}."),
    ]


def near_zero(kind: str) -> Hypothesis:
    """Whether a law has more mass near zero than the normal of equal quartiles."""
    return Hypothesis(
        f"P(|z| < 0.1) at the normal's quartiles: the {kind} law less the normal",
        "above",
        0.0,
        lambda e: Estimate.exact(law(kind, e) - law("normal", e), 1e-12),
        since="2026-11-26",
    )


def sparser(kind: str) -> Hypothesis:
    """Whether codes are sparser than those of the normal model."""
    return Hypothesis(
        f"Hoyer sparsity of held-out posterior means (medians), digits: {kind} less normal",
        "above",
        0.0,
        lambda e: differences(
            e.values("hoyer_code", kind=kind), e.values("hoyer_code", kind="normal")
        ),
        since="2026-11-26",
    )


CLAIM = Claim(
    name="cauchy-sparser",
    document="001",
    place="a sparse VAE, both approaches, and the models' names",
    says="Laplace and Cauchy priors make latents sparse, that is, few of them active at once.",
    hypotheses=(
        *(near_zero(kind) for kind in ("laplace", "cauchy")),
        *(sparser(kind) for kind in ("laplace", "cauchy")),
    ),
    trials=trials,
    figures=figures,
    minutes=2.1,
    notes=(
        "No continuous prior gives exact zeros, so that no number of active units exists; Hoyer's "
        "measure is that of the code itself, before the decoder's asinh of a Cauchy code. The "
        "Cauchy law is heavy-tailed rather than concentrated: at equal quartiles it has less mass "
        "near zero than the Laplace.",
    ),
    former=(
        Former(
            "P(|z| < 0.1) at the normal's quartiles: the Cauchy law less the Laplace law",
            "above",
            0.0,
            "2026-11-26",
            "the sentence sets both against the normal, not one against the other",
        ),
        Former(
            "Hoyer sparsity of the decoder's input, digits: laplace and cauchy less normal",
            "above",
            0.0,
            "2026-11-26",
            "the decoder's input is asinh of a Cauchy code, which hides its sparsity",
        ),
    ),
)
