"""What the guide remarks in passing: sentences on inference, collapse, and what else latents do."""

from reproductions.autoencoder_guide.remarks import (
    collapse,
    discrete,
    inference,
    inpainting,
    longer,
    sequences,
)

CLAIMS = (
    *inference.CLAIMS,
    *collapse.CLAIMS,
    longer.CLAIM,
    discrete.CLAIM,
    inpainting.CLAIM,
    sequences.CLAIM,
)
