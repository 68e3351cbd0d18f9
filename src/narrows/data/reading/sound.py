"""One sound file to one array, and a sound to windows: what is wrong with a file has a name."""

import re
import stat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FORMATS = ("WAV", "WAVEX", "RF64", "FLAC")
"""What a file is read as, whatever its name."""
ENDINGS = (".wav", ".wave", ".flac")
MOST = 1 << 28  # values of one file, 1 GiB as float32: nine hours of one channel at 8 kHz


class UnusableSoundError(ValueError):
    """A file that cannot be used as sound; its message is the reason."""


def read_sound(path: Path, *, mono: bool = False) -> tuple[NDArray[np.float32], int]:
    """Decodes a WAV or FLAC file to `[channels, samples]` in [-1, 1], and its sample rate in Hz.

    Args:
        path: the file.
        mono: take the mean of the channels.

    Raises:
        UnusableSoundError: if it is empty, damaged, truncated, silent, too long, holds NaN or is
            not sound in these formats.
        ModuleNotFoundError: if the extra is not installed.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise UnusableSoundError("not a regular file")
    if found.st_size == 0:
        raise UnusableSoundError("empty file")
    sound, rate = _decoded(path)
    if not np.isfinite(sound).all():
        raise UnusableSoundError("holds NaN or infinite values")
    if not sound.size or sound.min() == sound.max():
        raise UnusableSoundError("silent: all samples are equal")
    return sound.mean(0, keepdims=True) if mono else sound, rate


def _decoded(path: Path) -> tuple[NDArray[np.float32], int]:
    """All samples of a file that is whole, and its sample rate."""
    try:
        import soundfile
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "sound files need the soundfile library: pip install 'narrows[audio]'"
        ) from None
    try:
        with soundfile.SoundFile(path) as file:
            if file.format not in FORMATS:
                raise UnusableSoundError(f"{file.format} is not read; convert to WAV or FLAC")
            if re.search(r"^data : \d+ \(should be", file.extra_info, re.MULTILINE):
                raise UnusableSoundError("truncated: the header announces more samples")
            if file.frames * file.channels > MOST:
                raise UnusableSoundError(f"too long: {file.frames} samples; cut it into parts")
            sound = np.empty((file.frames, file.channels), np.float32)
            read = len(file.read(out=sound))
    except soundfile.LibsndfileError as error:
        raise UnusableSoundError(f"damaged: {error.error_string}") from None
    if read < len(sound):
        raise UnusableSoundError(f"truncated after {read} of {len(sound)} samples")
    return np.ascontiguousarray(sound.T), file.samplerate


def windows(sound: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Windows `[n, channels, length]` that cover a sound `[channels, samples]`.

    They follow each other; the last one ends with the sound and so may overlap the one before.

    Raises:
        UnusableSoundError: if the sound is shorter than a window.

    Example:
        >>> windows(np.arange(7, dtype=np.float32)[None], 3)[:, 0].tolist()
        [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [4.0, 5.0, 6.0]]
    """
    samples = sound.shape[1]
    if samples < length:
        raise UnusableSoundError(f"{samples} samples, shorter than a window of {length}")
    starts = [*range(0, samples - length, length), samples - length]
    return np.stack([sound[:, start : start + length] for start in starts])


def joined(parts: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    """The sound `[channels, samples]` of which `windows` made the parts `[n, channels, length]`.

    Example:
        >>> sound = np.arange(7, dtype=np.float32)[None]
        >>> bool((joined(windows(sound, 3), 7) == sound).all())
        True
    """
    *before, last = parts
    length = parts.shape[2]
    return np.concatenate([*before, last[:, len(before) * length - samples :]], 1)
