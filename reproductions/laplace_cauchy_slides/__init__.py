"""Slides of 2019 on a variational autoencoder with Laplace and Cauchy latents.

`models.py` trains the three models on the three tasks; each other file tests a claim. Begin
there; docs/documents/001.md says what was found.
"""

from reproductions.laplace_cauchy_slides import (
    additive,
    components,
    covariance,
    dimensions,
    divergence,
    informative,
    order,
    receptive,
    recovery,
    sparse,
    stable,
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
    stable.CLAIM,
    covariance.CLAIM,
    components.CLAIM,
)
