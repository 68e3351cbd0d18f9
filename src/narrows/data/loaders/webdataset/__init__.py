"""`webdataset:TARS`: pictures in tar files, decoded once into shards that stay on the disk."""

import glob
import hashlib
import multiprocessing
import os
import time
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from narrows.data.arrays import Division, divide
from narrows.data.checks import Extent
from narrows.data.dataset import Array, Dataset, Origin
from narrows.data.joined import InColour, Joined
from narrows.data.loaders.array import find_path
from narrows.data.loaders.folder import sides
from narrows.data.loaders.webdataset.decoding import Decoded, Decoding, decode, is_decoded
from narrows.data.mapped import LARGE, Source, usual_buffer
from narrows.data.reading.arrays import ArrayFile
from narrows.data.reading.files import cache_folder
from narrows.data.reading.gathering import listed
from narrows.data.reading.listed import Listed, check_listed
from narrows.data.shards import parts_of
from narrows.saving.writing import FolderInUseError, sole_writer

ABOUT = "pictures in tar files in the layout of WebDataset, larger than memory"
ARGUMENT = "TARS"
_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")


def load(  # noqa: PLR0913 (all are named)
    root: Path | None = None,
    *,
    argument: str,
    size: int | None = None,
    channels: int | None = None,
    picture: str | None = None,
    labels: bool | str = True,
    fractions: tuple[float, float] = (0.1, 0.1),
    seed: int = 0,
    buffer: int | None = None,
    decoded: str | None = None,
) -> Dataset:
    """Loads the pictures of tar files; members of one name are one example, `.cls` its class.

    Each picture is decoded once, into 8-bit shards that later runs and other ranks find again; they
    take n x channels x height x width bytes. A tar file that has changed is decoded anew. Pictures
    are taken, scaled, left out and named as those of `folder:` are; subfolders `train` and `val` or
    `test` are splits.

    Args:
        root: a relative path that is not found here is looked for there.
        argument: a pattern such as `DIR/*.tar`, or a folder, whose tar files are taken.
        size: side of a square that pictures are scaled and cropped to.
        channels: 1 or 3; by default 3 if any picture is in colour.
        picture: ending of the pictures to take, where examples have several.
        labels: "none" or False to go without.
        fractions: shares for validation and test, where there are no splits.
        seed: of the split.
        buffer: rows that training shuffles together; by default what half a GiB holds.
        decoded: folder for the shards; by default one in narrows' cache (`NARROWS_CACHE`).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a file is empty, truncated, damaged or without pictures, sizes differ and
            none was asked for, or only some pictures have a class.
    """
    if labels not in (True, False, "none"):
        raise ValueError(f"expected labels to be true, false or none, got {labels!r}")
    folder, files = _files(argument, root)
    how = Decoding(sides(size), channels, picture)
    place = Path(decoded) if decoded else cache_folder() / "webdataset"
    place = place / _key(files, how)
    found = _decoded(files, place, how)
    _check(found, argument)
    entries = [entry for one in found for entry in one.shards]
    sources = _sources(place, entries)
    parts = parts_of(folder, files, rows=[len(one.labels) for one in found])
    data = divide(
        Joined(
            sources, tuple(entry["file"] for entry in entries),
            usual_buffer(sources[0].shape[1:], sources[0].dtype) if buffer is None else buffer,
        ),
        _labels(found) if labels is True else None,
        name=folder.resolve().name, layout="nchw",
        division=Division(fractions, seed, parts),
    )  # fmt: skip
    skipped = tuple(reason for one in found for reason in one.skipped)
    return replace(data, origin=Origin(skipped=skipped))


def _files(pattern: str, root: Path | None) -> tuple[Path, list[Path]]:
    """The folder that names are told relative to, and the tar files."""
    path = find_path(pattern, root)
    if path.is_dir():
        return path, _found(path, (one for one in path.rglob("*") if one.name.endswith(_ENDINGS)))
    bases = [path] if root is None else [path, root / path]
    names = next(filter(None, (glob.glob(str(base), recursive=True) for base in bases)), [])
    files = _found(path, map(Path, names))
    return Path(os.path.commonpath([file.parent for file in files])), files


def _found(path: Path, files: Iterable[Path]) -> list[Path]:
    """Files in the order of their names, of which there is one at least."""
    found = sorted(file for file in files if file.is_file())
    if not found:
        raise FileNotFoundError(
            f"no tar file is found at {str(path)!r}; give a folder of {', '.join(_ENDINGS)} files "
            "or a pattern such as 'DIR/*.tar'"
        )
    return found


def _key(files: Sequence[Path], how: Decoding) -> str:
    """Changes with the files, their content and what is made of it."""
    stamps = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr((stamps, astuple(how))).encode()).hexdigest()[:16]


def _decoded(files: Sequence[Path], place: Path, how: Decoding) -> list[Decoded]:
    """All files decoded, by as many processes as there are cores; who comes second waits."""
    places, work = [place / f"{n:05}" for n in range(len(files))], partial(decode, how=how)
    alone = len(files) == 1 or multiprocessing.current_process().daemon
    while True:
        try:
            with sole_writer(place):
                if alone or is_decoded(places):
                    return list(map(work, files, places))
                with ProcessPoolExecutor(min(len(files), os.cpu_count() or 1)) as pool:
                    return list(pool.map(work, files, places))
        except FolderInUseError:
            time.sleep(0.5)


def _check(found: Sequence[Decoded], argument: str) -> None:
    """Refuses files without pictures, and pictures of several sizes; warns of what was left out."""
    entries = [entry for one in found for entry in one.shards]
    skipped = [reason for one in found for reason in one.skipped]
    if not entries:
        endings = sorted({end for one in found for end in one.endings})
        raise ValueError(
            f"{argument!r} holds no picture that can be used; it has members "
            f".{', .'.join(endings) or 'none'} ({listed(skipped) or 'no examples'})"
        )
    sizes = {tuple(entry["shape"][1:]): entry["file"] for entry in entries}
    if len(sizes) > 1:
        some = [f"{width}x{height}" for height, width in list(sizes)[:3]]
        raise ValueError(
            f"the pictures have different sizes, such as {', '.join(some)}; pass size=N to scale "
            "and crop them to NxN"
        )
    if skipped:
        n = sum(entry["rows"] for entry in entries) + len(skipped)
        warnings.warn(f"{len(skipped)} of {n} files were left out: {listed(skipped)}", stacklevel=4)


def _sources(place: Path, entries: Sequence[dict[str, Any]]) -> tuple[Source, ...]:
    """The shards, in colour if any of them is."""
    verify, sources = sum(entry["bytes"] for entry in entries) <= LARGE, list[Source]()
    for entry in entries:
        listed_as = Listed(**{name: entry[name] for name in Listed.__annotations__})
        remedy = f"remove {place}, and the pictures are decoded again"
        path = check_listed(place, listed_as, verify=verify, named="its list", remedy=remedy)
        source = ArrayFile(path, "examples")
        source.extent = Extent(*entry["extent"])
        sources.append(source)
    colour = any(entry["shape"][0] == 3 for entry in entries)
    return tuple(InColour(source) if colour else source for source in sources)


def _labels(found: Sequence[Decoded]) -> Array | None:
    """The classes of all examples, numbers if all are; None if none has one."""
    given = [label for one in found for label in one.labels]
    known = [label for label in given if label is not None]
    if not known:
        return None
    if len(known) < len(given):
        raise ValueError(
            f"{len(given) - len(known)} of {len(given)} examples have no .cls and the others do; "
            "add them, or go without by labels=none"
        )
    return np.array(known).astype(np.int64) if all(map(str.isdecimal, known)) else np.array(known)
