"""Document 003: a notebook of VQ, VQ-EMA and a dictionary."""

from reproductions.vq_notebook import (
    against_vq,
    farthest,
    leak,
    learning,
    penalty,
    questions,
    views,
)

CLAIMS = (
    learning.CLAIM,
    farthest.CLAIM,
    *leak.CLAIMS,
    penalty.CLAIM,
    against_vq.CLAIM,
    *views.CLAIMS,
    *questions.CLAIMS,
)
