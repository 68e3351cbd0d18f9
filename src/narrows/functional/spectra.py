"""Spectra of sequences: magnitudes, and two distances between them."""

import torch
from torch import Tensor


def magnitudes(x: Tensor, window: int, *, floor: float) -> Tensor:
    """|STFT| of sequences `[..., t]` under a Hann window: `[..., window // 2 + 1, frames]`.

    Frames begin every quarter of a window, and zeros continue the ends. The scale is such that
    white noise of variance v has the mean square v at every frequency.

    Args:
        x: sequences.
        window: length of a frame in samples.
        floor: smallest magnitude, in the unit of x; smaller ones are raised to it.

    Example:
        >>> noise = torch.randn(4, 10_000, generator=torch.Generator().manual_seed(0))
        >>> bool((magnitudes(noise, 64, floor=0.0).square()[:, 4:-4].mean() - 1).abs() < 0.05)
        True
    """
    hann = torch.hann_window(window, dtype=x.dtype, device=x.device)
    flat = x.reshape(-1, x.shape[-1])
    hop = max(1, window // 4)
    spectrum = torch.stft(flat, window, hop, window=hann, pad_mode="constant", return_complex=True)
    power = torch.view_as_real(spectrum).square().sum(-1) / hann.square().sum()
    return power.clamp(min=floor**2).sqrt().reshape(*x.shape[:-1], *power.shape[1:])


def stft_loss(x: Tensor, y: Tensor, *, window: int, floor: float) -> Tensor:
    """|| |X| - |Y| || / || |X| || + mean |ln |X| - ln |Y||, `[batch]`, X and Y from `magnitudes`.

    Args:
        x: originals `[batch, channels, t]`.
        y: reconstructions.
        window: length of a frame in samples.
        floor: as for `magnitudes`.

    Source: Yamamoto, Song & Kim (2020), section 2.2, for one resolution.
    """
    one, two = (magnitudes(part, window, floor=floor).flatten(1) for part in (x, y))
    convergence = torch.linalg.vector_norm(one - two, dim=1) / torch.linalg.vector_norm(one, dim=1)
    return convergence + (one.log() - two.log()).abs().mean(1)


def log_spectral_distance(x: Tensor, y: Tensor, *, window: int, floor: float) -> Tensor:
    """Mean over frames of sqrt(mean over frequencies of (20 log10(|X| / |Y|))^2), `[batch]` in dB.

    Args:
        x: originals `[batch, channels, t]`.
        y: reconstructions.
        window: length of a frame in samples.
        floor: as for `magnitudes`.

    Source: Gray & Markel (1976).
    """
    one, two = (magnitudes(part, window, floor=floor) for part in (x, y))
    decibel = 20 * (one / two).log10()
    return decibel.square().mean(-2).sqrt().flatten(1).mean(1)
