"""Sound on a page: something to play, and its spectrogram."""

import io
import wave

import matplotlib
import numpy as np
import torch
from numpy.typing import ArrayLike

from narrows.functional.spectra import magnitudes
from narrows.report.blocks import Picture, Sound
from narrows.report.images import to_png

RANGE = 60
"""Decibels between the brightest and the darkest colour of a spectrogram."""


def to_wav(samples: ArrayLike, rate: int) -> bytes:
    """Samples `[channels, t]` as a 16-bit WAV file; values outside [-1, 1] are clipped."""
    values = np.nan_to_num(np.asarray(samples, dtype=np.float64)).clip(-1, 1)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(len(values))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.rint(32767 * values.T).astype("<i2").tobytes())
    return buffer.getvalue()


def spectrum_top(samples: ArrayLike, *, window: int = 256) -> float:
    """The largest magnitude of a sound `[channels, t]`, for `spectrogram(loudest=)`."""
    values = torch.as_tensor(np.asarray(samples, dtype=np.float64))
    frames = magnitudes(values, min(window, values.shape[-1]), floor=1e-30)
    return float(frames.square().mean(0).max().sqrt())


def spectrogram(
    samples: ArrayLike, *, caption: str, window: int = 256, loudest: float | None = None
) -> Picture:
    """Magnitudes over time (to the right) and frequency (upwards), the channels' mean.

    Args:
        samples: `[channels, t]`.
        caption: what it is.
        window: length of a frame in samples.
        loudest: magnitude of the brightest colour, for pictures that are compared; by default the
            largest one. `RANGE` dB below it all is dark.
    """
    values = torch.as_tensor(np.asarray(samples, dtype=np.float64))
    power = magnitudes(values, min(window, values.shape[-1]), floor=1e-30).square().mean(0)
    top = (spectrum_top(samples, window=window) if loudest is None else loudest) ** 2
    share = 1 + 10 * (power / max(top, 1e-30)).log10().numpy()[::-1] / RANGE
    colours = matplotlib.colormaps["magma"](share.clip(0, 1), bytes=True)[..., :3]
    return Picture(to_png(np.ascontiguousarray(colours)), f"Spectrogram: {caption}.", caption)


def clip(
    samples: ArrayLike, *, rate: int | None, caption: str, loudest: float | None = None
) -> Sound | Picture:
    """A spectrogram, with the sound below it where there is a sample rate.

    Args:
        samples: `[channels, t]`.
        rate: samples per second; None for sequences that are not sound.
        caption: what it is.
        loudest: as for `spectrogram`.
    """
    picture = spectrogram(samples, caption=caption, loudest=loudest)
    return picture if rate is None else Sound(to_wav(samples, rate), picture)
