"""Document 002: a course's guide to plain, variational and vector-quantised autoencoders."""

from reproductions.autoencoder_guide import (
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
from reproductions.autoencoder_guide.models import averaged

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
