"""Slides of 2019 on a variational autoencoder with Laplace and Cauchy latents.

`models.py` trains the three models on the three tasks; each other file tests a claim. Begin
there; docs/documents/001.md says what was found.
"""

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
