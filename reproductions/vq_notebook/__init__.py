"""A notebook of 2023 with VQ, VQ by moving averages, and a dictionary layer.

`as_written` holds its layers as it wrote them; `models.py` trains them and repaired ones. Begin
there; docs/documents/003.md says what was found.
"""

from reproductions.vq_notebook import (
    against_vq,
    farthest,
    leak,
    learning,
    penalty,
    questions,
    real_size,
    views,
)

CLAIMS = (
    learning.CLAIM,
    farthest.CLAIM,
    *leak.CLAIMS,
    real_size.CLAIM,
    penalty.CLAIM,
    against_vq.CLAIM,
    *views.CLAIMS,
    *questions.CLAIMS,
)
