"""Document 004: a report on VQ-VAE beside AE, VAE and mixtures of normals."""

from reproductions.vq_report import contrast, derivations, mixtures

CLAIMS = (*contrast.CLAIMS, mixtures.CLAIM, *derivations.CLAIMS)
