"""Document 000: a VQ-VAE against an autoencoder with a task-driven sparse code."""

from reproductions.sparse_vae_report import (
    blur,
    epochs,
    gradient,
    quantisation,
    rate,
    reconstruction,
    runtime,
    sparsity,
)

CLAIMS = (
    *reconstruction.CLAIMS,
    rate.CLAIM,
    *quantisation.CLAIMS,
    *sparsity.CLAIMS,
    *epochs.CLAIMS,
    *blur.CLAIMS,
    *runtime.CLAIMS,
    *gradient.CLAIMS,
)
