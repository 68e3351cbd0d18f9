"""Document 001: a sparse variational autoencoder with Laplace and Cauchy latents."""

from narrows.experiments.claims.document_001 import order

CLAIMS = (*order.CLAIMS,)
