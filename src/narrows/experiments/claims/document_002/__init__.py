"""Document 002: a course's guide to plain, variational and vector-quantised autoencoders."""

from narrows.experiments.claims.document_002 import (
    derivations,
    errors,
    gradients,
    layout,
    linear,
    noise,
    quantised,
    retention,
    samples,
)
from narrows.experiments.claims.document_002.models import averaged

AVERAGED = (errors.CLAIMS[0], layout.CLAIM, *samples.CLAIMS, noise.CLAIMS[0])

CLAIMS = (
    linear.CLAIM,
    *derivations.CLAIMS,
    gradients.CLAIM,
    *errors.CLAIMS,
    layout.CLAIM,
    *samples.CLAIMS,
    *noise.CLAIMS,
    retention.CLAIM,
    *quantised.CLAIMS,
    *(averaged(claim) for claim in AVERAGED),
)
