"""Whether reconstructions are as sharp as their originals.

Noise and ringing count as sharp too: a ratio near 1 says something only beside PSNR or SSIM,
and one far above 1 is as bad as one far below.
"""

import torch
from torch import Tensor


def laplacian_variance(images: Tensor) -> Tensor:
    """Variance over the pixels of the 4-neighbour Laplacian, `[batch]`, mean over channels.

    Args:
        images: `[batch, channels, height, width]`, of at least 3 x 3 pixels.

    Source: Pech-Pacheco et al. (2000), the focus measure LAPV.
    """
    images = _checked(images)
    middle = images[..., 1:-1, 1:-1]
    sides = images[..., :-2, 1:-1] + images[..., 2:, 1:-1]
    sides = sides + images[..., 1:-1, :-2] + images[..., 1:-1, 2:]
    return (sides - 4 * middle).flatten(2).var(2, correction=0).mean(1)


def high_frequency_energy(images: Tensor, above: float = 0.25) -> Tensor:
    """Energy at spatial frequencies above a limit, `[batch]`, summed over channels.

    The image's mean is removed and its borders are faded by a Hann window first, because the
    Fourier transform joins opposite edges.

    Args:
        images: `[batch, channels, height, width]`.
        above: limit in cycles per pixel; 0.5 is the highest along an axis.
    """
    images = _checked(images)
    height, width = images.shape[-2:]
    centred = images - images.mean((2, 3), keepdim=True)
    rows, columns = (
        torch.hann_window(n + 2, periodic=False, dtype=images.dtype, device=images.device)[1:-1]
        for n in (height, width)
    )
    spectrum = torch.fft.fft2(centred * rows[:, None] * columns)
    vertical, horizontal = (torch.fft.fftfreq(n, device=images.device) for n in (height, width))
    high = torch.hypot(vertical[:, None], horizontal[None]) > above
    return (spectrum.abs().square() * high).sum((1, 2, 3)) / (height * width)


def sharpness(reconstructions: Tensor, originals: Tensor) -> dict[str, float]:
    """Both measures as ratios to the originals; 1 is as sharp, below 1 is blurred.

    Ratios of sums over the set, so that a few flat originals cannot dominate.

    Args:
        reconstructions: `[batch, channels, height, width]`.
        originals: of the same shape.

    Returns:
        `laplacian_ratio` and `high_frequency_ratio`.

    Raises:
        ValueError: if shapes differ, or the originals have no detail to compare with.
    """
    if reconstructions.shape != originals.shape:
        raise ValueError(
            f"expected reconstructions of shape {tuple(originals.shape)}, got "
            f"{tuple(reconstructions.shape)}"
        )
    ratios = {}
    measures = {"laplacian": laplacian_variance, "high_frequency": high_frequency_energy}
    for name, measure in measures.items():
        reference = measure(originals).sum().item()
        if reference <= 0:
            raise ValueError("the originals are all constant: sharpness has nothing to compare")
        ratios[f"{name}_ratio"] = measure(reconstructions).sum().item() / reference
    return ratios


def _checked(images: Tensor) -> Tensor:
    """Images in float64, where neighbours' differences keep their digits."""
    if images.dim() != 4 or min(images.shape[2:]) < 3:
        raise ValueError(
            "expected images [batch, channels, height, width] of at least 3 x 3 pixels, got "
            f"shape {tuple(images.shape)}"
        )
    return images.double()
