"""The claims of the five documents, each a number decided beforehand, and what decides it.

A claim lives in a file of its document's package; the tuples below are the list. To add one:
write a trial (a function of `folder` and plain arguments that returns numbers and arrays), the
hypotheses over its results, the figures, and put the `Claim` into the document's `CLAIMS`.
"""

from narrows.experiments.claims import (
    document_000,
    document_001,
    document_002,
    document_003,
    document_004,
    page,
)
from narrows.experiments.claims.claim import Claim, Evidence, Hypothesis, Scale
from narrows.experiments.claims.examination import Examined, Finding, examine
from narrows.experiments.claims.trial import Trial
from narrows.experiments.claims.verdict import Estimate

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
