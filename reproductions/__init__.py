"""The claims of five public documents, each a number decided beforehand, and what decides it.

One package each, by what the document is; its models as they were written are in `as_written`,
its recipes in `recipes`. `python -m reproductions --list` shows the claims. Begin with `claim.py`.

To add a claim: write a trial (a function of `folder` and plain arguments that returns numbers
and arrays), the hypotheses over its results, the figures, and put the `Claim` into the
document's `CLAIMS`.
"""

from collections.abc import Mapping

from reproductions import (
    autoencoder_guide,
    laplace_cauchy_slides,
    page,
    sparse_vae_report,
    vq_notebook,
    vq_report,
)
from reproductions.claim import Claim, Evidence, Hypothesis, Scale
from reproductions.examination import Examined, Finding, examine
from reproductions.verdict import Estimate

DOCUMENTS: Mapping[str, tuple[Claim, ...]] = {
    "sparse_vae_report": sparse_vae_report.CLAIMS,
    "laplace_cauchy_slides": laplace_cauchy_slides.CLAIMS,
    "autoencoder_guide": autoencoder_guide.CLAIMS,
    "vq_notebook": vq_notebook.CLAIMS,
    "vq_report": vq_report.CLAIMS,
}
"""Claims by the package of their document."""
CLAIMS = tuple(claim for claims in DOCUMENTS.values() for claim in claims)

__all__ = [
    "CLAIMS",
    "DOCUMENTS",
    "Claim",
    "Estimate",
    "Evidence",
    "Examined",
    "Finding",
    "Hypothesis",
    "Scale",
    "examine",
    "page",
]
