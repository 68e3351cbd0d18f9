"""How far reconstructions are from data: MSE, NMSE, PSNR, SSIM, spectra; and after denoising."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from narrows.functional import spectra
from narrows.functional.corruption import corrupt
from narrows.metrics.classifier import in_batches

WINDOW, SIGMA = 11, 1.5
"""Of the Gaussian window of SSIM, in pixels, as published."""
SILENCE = 1e-3
"""Magnitude that counts as silence, over that of the training set's level: -60 dB."""


def mse(x: Tensor, y: Tensor) -> Tensor:
    """Mean over an example's values of (x - y)^2, `[batch]`, in squared units of x.

    Raises:
        ValueError: if the shapes differ; nothing broadcasts.
    """
    if x.shape != y.shape or x.dim() < 2:
        raise ValueError(
            f"expected two batches of one shape, got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    return (x - y).square().flatten(1).mean(1)


def nmse(x: Tensor, y: Tensor, *, variance: float) -> Tensor:
    """`mse` over the variance of the training data, `[batch]`, without unit.

    1 is what the training data's mean value as every pixel's reconstruction would get on
    average; the mean *image* already does better on data such as digits.

    Args:
        x: originals `[batch, ...]`.
        y: reconstructions.
        variance: of all values of the training split (`Dataset.variance`).

    Raises:
        ValueError: if the variance is not positive.
    """
    if not variance > 0:
        raise ValueError(f"expected the training data's variance, got {variance}; is it constant?")
    return mse(x, y) / variance


def psnr(x: Tensor, y: Tensor, *, peak: float = 1.0) -> Tensor:
    """10 log10(peak^2 / mse), `[batch]`, in dB; infinite where x equals y.

    The mean of these over a set exceeds the PSNR of the set's mean squared error unless all
    examples are equally hard; say which one a figure is.
    """
    return 10 * (peak**2 / mse(x, y)).log10()


def ssim(x: Tensor, y: Tensor, *, peak: float = 1.0) -> Tensor:
    """Structural similarity, `[batch]`, 1 for equal images.

    Mean over channels and over all positions at which the window fits of
    (2 m_x m_y + c_1)(2 s_xy + c_2) / ((m_x^2 + m_y^2 + c_1)(s_x^2 + s_y^2 + c_2)), with means,
    variances and covariance under an 11 x 11 Gaussian window of standard deviation 1.5.
    Images narrower than 11 pixels get the largest odd window that fits: their values compare
    with each other, not with published ones.

    Args:
        x: originals `[batch, channels, height, width]`.
        y: reconstructions.
        peak: range of the values; c_1 = (0.01 peak)^2, c_2 = (0.03 peak)^2.

    Raises:
        ValueError: if the shapes differ or are not those of images.

    Source: Wang, Bovik, Sheikh & Simoncelli (2004), equations 13-17.
    """
    if x.shape != y.shape or x.dim() != 4:
        raise ValueError(
            "expected two batches of images [batch, channels, height, width], got "
            f"{tuple(x.shape)} and {tuple(y.shape)}"
        )
    dtype, x, y = x.dtype, x.double(), y.double()  # float32 cancels in the variances
    mean_x, mean_y = _windowed(x), _windowed(y)
    variance_x = _windowed(x * x) - mean_x**2
    variance_y = _windowed(y * y) - mean_y**2
    covariance = _windowed(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    light = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return (light * structure).flatten(1).mean(1).to(dtype)


def log_spectral_distance(
    x: Tensor, y: Tensor, *, window: int = 256, deviation: float = 1.0
) -> Tensor:
    """Log-spectral distance of sequences, `[batch]` in dB; 0 for equal ones.

    Mean over frames of sqrt(mean over frequencies of (20 log10(|X| / |Y|))^2), with Hann windows
    that begin every quarter of their length. What lies 60 dB below white noise of the training
    set's level counts as silence.

    Args:
        x: originals `[batch, channels, t]`.
        y: reconstructions.
        window: length of a frame in samples.
        deviation: the training set's standard deviation (`Dataset.variance ** 0.5`).

    Raises:
        ValueError: if the shapes differ or are not those of sequences.

    Source: Gray & Markel (1976).
    """
    if x.shape != y.shape or x.dim() != 3:
        raise ValueError(
            "expected two batches of sequences [batch, channels, t], got "
            f"{tuple(x.shape)} and {tuple(y.shape)}"
        )
    x, y = (part / deviation for part in (x.double(), y.double()))
    return spectra.log_spectral_distance(x, y, window=window, floor=SILENCE)


def _windowed(images: Tensor) -> Tensor:
    """Gaussian-weighted local means of `[batch, channels, h, w]`, where the window fits."""
    flat = images.flatten(0, 1)[:, None]
    for axis in (2, 3):
        size = min(WINDOW, images.shape[axis] - (1 - images.shape[axis] % 2))
        offsets = torch.arange(size, dtype=images.dtype, device=images.device) - size // 2
        weights = (-0.5 * (offsets / SIGMA) ** 2).exp()
        weights = (weights / weights.sum()).reshape(1, 1, *((size, 1) if axis == 2 else (1, size)))
        flat = F.conv2d(flat, weights)
    return flat.squeeze(1).unflatten(0, images.shape[:2])


def denoising(
    reconstruct: Callable[[Tensor], Tensor],
    clean: Tensor,
    *,
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
        noisy = corrupt(clean, weight, generator=generator)
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
