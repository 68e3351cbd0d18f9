"""A student's report on VQ-VAE beside AE, VAE and mixtures of normals.

`models.py` trains the three models; `contrast.py` tests what it says of them, `generation.py` what
they draw. Begin with `models.py`; docs/documents/004.md says what was found.
"""

from reproductions.vq_report import contrast, derivations, generation, mixtures

CLAIMS = (*contrast.CLAIMS, generation.CLAIM, mixtures.CLAIM, *derivations.CLAIMS)
