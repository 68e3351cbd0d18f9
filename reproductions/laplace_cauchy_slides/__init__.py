"""Document 001: a sparse variational autoencoder with Laplace and Cauchy latents."""

from reproductions.laplace_cauchy_slides import (
    additive,
    dimensions,
    divergence,
    informative,
    order,
    receptive,
    recovery,
    sparse,
)

CLAIMS = (
    recovery.CLAIM,
    *order.CLAIMS,
    *informative.CLAIMS,
    *dimensions.CLAIMS,
    receptive.CLAIM,
    sparse.CLAIM,
    divergence.CLAIM,
    additive.CLAIM,
)
