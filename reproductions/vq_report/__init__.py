"""A student's report on VQ-VAE beside AE, VAE and mixtures of normals.

`models.py` trains the three models; `contrast.py` tests what it says of them. Begin there;
docs/documents/004.md says what was found.
"""

from reproductions.vq_report import contrast, derivations, mixtures

CLAIMS = (*contrast.CLAIMS, mixtures.CLAIM, *derivations.CLAIMS)
