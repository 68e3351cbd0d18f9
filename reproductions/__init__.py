"""The claims of the five documents, each a number decided beforehand, and what decides it.

A claim lives in a file of its document's package; the tuples below are the list. To add one:
write a trial (a function of `folder` and plain arguments that returns numbers and arrays), the
hypotheses over its results, the figures, and put the `Claim` into the document's `CLAIMS`.
"""

from reproductions import autoencoder_guide as document_002
from reproductions import laplace_cauchy_slides as document_001
from reproductions import page
from reproductions import sparse_vae_report as document_000
from reproductions import vq_notebook as document_003
from reproductions import vq_report as document_004
from reproductions.claim import Claim, Evidence, Hypothesis, Scale
from reproductions.examination import Examined, Finding, examine
from reproductions.trial import Trial
from reproductions.verdict import Estimate

CLAIMS: tuple[Claim, ...] = (
    *document_000.CLAIMS,
    *document_001.CLAIMS,
    *document_002.CLAIMS,
    *document_003.CLAIMS,
    *document_004.CLAIMS,
)

__all__ = [
    "CLAIMS",
    "Claim",
    "Estimate",
    "Evidence",
    "Examined",
    "Finding",
    "Hypothesis",
    "Scale",
    "Trial",
    "examine",
    "page",
]
