"""A report of 2022 on a VQ-VAE beside an autoencoder with a task-driven sparse code.

`as_written` holds its model as its code ran; `models.py` trains it and what it is compared with,
repaired ones too. Begin there; docs/documents/000.md says what was found.
"""

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
