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
)
