"""How much noise an autoencoder removes."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from narrows.functional.corruption import corrupt
from narrows.metrics.distortion import mse
from narrows.metrics.retention import in_batches


def denoising(
    reconstruct: Callable[[Tensor], Tensor],
    clean: Tensor,
    weights: Sequence[float] = (0.25, 0.5, 0.75),
    seed: int = 0,
) -> list[dict[str, float]]:
    """PSNR of reconstructions of noisy images against the clean ones, for each noise weight.

    Two references stand beside it, because a gain over heavy noise is cheap: `noisy`, leaving
    the image as it came, and `mean_image`, answering every image with the set's mean. A model
    below the latter removes the image along with the noise.

    Args:
        reconstruct: images -> reconstructions, such as `Autoencoder.reconstruct`.
        clean: images `[n, channels, height, width]` in [0, 1].
        weights: of the noise.
        seed: of the noise, the same for every model.

    Returns:
        One row per weight: `weight`, and PSNR in dB of the mean squared error over the set:
        `denoised`, `noisy`, `mean_image`.
    """
    rows = []
    for weight in weights:
        generator = torch.Generator(clean.device).manual_seed(seed)
        noisy = corrupt(clean, weight, generator)
        rows.append(
            {
                "weight": weight,
                "denoised": _decibel(clean, in_batches(reconstruct, noisy)),
                "noisy": _decibel(clean, noisy),
                "mean_image": _decibel(clean, clean.mean(0).expand_as(clean)),
            }
        )
    return rows


def _decibel(x: Tensor, y: Tensor) -> float:
    return -10 * mse(x, y).mean().log10().item()
