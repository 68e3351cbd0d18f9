"""`audio:PATH`: a folder of WAV and FLAC files, cut into windows and divided by file."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from narrows.data.arrays import Division, divide
from narrows.data.dataset import Dataset, Origin
from narrows.data.loaders.array import find_path
from narrows.data.loaders.folder import named_splits, top_folder
from narrows.data.pictures import files_below
from narrows.data.reading.gathering import listed
from narrows.data.reading.sound import ENDINGS, UnusableSoundError, read_sound, windows
from narrows.data.splitting import Rows

ABOUT = "your own WAV and FLAC files, in windows (needs the extra audio)"
ARGUMENT = "PATH"
_FEWEST = 3  # files, one for each part
_UNREAD = (".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".wma", ".aif", ".aiff", ".au", ".caf")


def load(
    root: Path | None = None,
    *,
    argument: str,
    seconds: float | None = None,
    samples: int | None = None,
    mono: bool = False,
    fractions: tuple[float, float] = (0.1, 0.1),
    seed: int = 0,
) -> Dataset:
    """Loads every WAV and FLAC file below a folder as windows `[channels, samples]`.

    Values stay in [-1, 1], as the files have them. Windows follow each other; the last one of a
    file ends with it and overlaps the one before. All windows of a file are in one part: training,
    validation or test. What cannot be used (damaged, truncated, silent, shorter than a window) is
    left out, with a warning that counts and names it.

    Subfolders `train`, `val` and `test` are splits and others classes, as with `folder:`. All
    windows are in memory, as float32.

    Args:
        root: a relative path that is not found here is looked for there.
        argument: the folder.
        seconds: length of a window; 1 unless `samples` is given.
        samples: length of a window in samples.
        mono: mix several channels to their mean.
        fractions: shares of the files for validation and test.
        seed: of the division.

    Raises:
        FileNotFoundError: if there is no such folder.
        ModuleNotFoundError: if the extra is not installed.
        ValueError: if sample rates or numbers of channels differ, or too few files can be used.
    """
    folder = find_path(argument, root)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {argument!r}; give the path of one")
    if samples is not None and seconds is not None:
        raise ValueError("expected the length of a window in seconds or in samples, got both")
    files, skipped = read_files(folder, seconds=seconds, samples=samples, mono=mono)
    if len(files) < _FEWEST:
        left = f", of which {len(skipped)} cannot be used ({listed(skipped)})" if skipped else ""
        raise ValueError(
            f"too few sound files: at least {_FEWEST} are needed to divide by file, {argument!r} "
            f"has {len(files) + len(skipped)}{left}"
        )
    if skipped:
        text = f"{len(skipped)} of {len(files) + len(skipped)} files were left out: "
        warnings.warn(text + listed(skipped), stacklevel=3)
    parts, labels = parts_of_files([file.name for file in files], Division(fractions, seed))
    counts = [len(file.windows) for file in files]
    data = divide(
        np.concatenate([file.windows for file in files]),
        None if labels is None else np.repeat(labels, counts),
        name=folder.resolve().name,
        layout="nct",
        division=Division(parts=np.repeat(parts, counts)),
    )
    rate, length = files[0].rate, data.shape[1]
    note = (
        f"{sum(counts)} windows of {length} samples ({length / rate:.4g} s at {rate} Hz) of "
        f"{len(files)} files, divided by file, seed {seed}"
    )
    return replace(data, origin=Origin(skipped=tuple(skipped), rate=rate), note=note)


class SoundFile(NamedTuple):
    """A file that is used: its name, its sample rate, its windows `[n, channels, samples]`."""

    name: str
    rate: int
    windows: NDArray[np.float32]


def read_files(
    folder: Path, *, seconds: float | None = None, samples: int | None = None, mono: bool = False
) -> tuple[list[SoundFile], list[str]]:
    """The windows of all files, which agree in rate and channels, and what was left out.

    Raises:
        ValueError: if rates or channels differ.
    """
    files: list[SoundFile] = []
    skipped: list[str] = []
    for path, reason in files_below(folder, _kind):
        name = path.relative_to(folder).as_posix()
        try:
            if reason:
                raise UnusableSoundError(reason)
            sound, rate = read_sound(path, mono=mono)
            length = _length(seconds, samples, rate)
            file = SoundFile(name, rate, windows(sound, length))
        except UnusableSoundError as error:
            skipped.append(f"{name}: {error}")
            continue
        except OSError as error:
            skipped.append(f"{name}: cannot be read ({error.strerror or error})")
            continue
        _check_same((files or [file])[0], file)
        files.append(file)
    return files, skipped


def _kind(end: str) -> str | None:
    if end in ENDINGS:
        return ""
    return f"files {end} are not read; convert to .wav or .flac" if end in _UNREAD else None


def _length(seconds: float | None, samples: int | None, rate: int) -> int:
    """Samples of a window."""
    length = round((1 if seconds is None else seconds) * rate) if samples is None else samples
    if length < 1:
        raise ValueError(f"expected a window of at least 1 sample, got {length} ({rate} Hz)")
    return length


def _check_same(first: SoundFile, file: SoundFile) -> None:
    """Refuses another sample rate or number of channels than that of the first file."""
    if file.rate != first.rate:
        raise ValueError(
            f"sample rates differ: {first.rate} Hz ({first.name}) and {file.rate} Hz "
            f"({file.name}); resample all files to one rate"
        )
    one, two = first.windows.shape[1], file.windows.shape[1]
    if one != two:
        raise ValueError(
            f"numbers of channels differ: {one} ({first.name}) and {two} ({file.name}); mono=True "
            "mixes them"
        )


def parts_of_files(
    names: Sequence[str], division: Division
) -> tuple[NDArray[np.str_], Rows | None]:
    """The part ("train", ...) and, where subfolders are classes, the class of each file."""
    splits = named_splits(names)
    paths = [PurePosixPath(name) for name in names]
    if splits:
        given = np.array([splits.get(top_folder(path), "none") for path in paths])
        division = replace(division, parts=given)
    folders = [PurePosixPath(*path.parts[bool(splits) : -1]).as_posix() for path in paths]
    classes = None if "." in folders or len(set(folders)) < 2 else np.array(folders)
    numbers = None if classes is None else np.unique(classes, return_inverse=True)[1]
    parts = np.full(len(names), "none", dtype="<U10")
    rows = division.rows(len(names), numbers)
    for part, chosen in zip(("train", "validation", "test"), rows, strict=True):
        parts[chosen] = part
    return parts, classes
