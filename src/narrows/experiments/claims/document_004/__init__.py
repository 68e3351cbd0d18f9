"""Document 004: a report on VQ-VAE beside AE, VAE and mixtures of normals."""
