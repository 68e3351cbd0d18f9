"""`folder:PATH`: a folder of image files, with class subfolders or without."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from narrows.data.arrays import Division, divide
from narrows.data.dataset import Dataset, Origin
from narrows.data.loaders.array import find_path
from narrows.data.mapped import LARGE
from narrows.data.pictures import picture_files
from narrows.data.reading.gathering import Gathered

ABOUT = "your own image files; subfolders are classes, or train, val and test"
ARGUMENT = "PATH"
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Names of subfolders that are the user's own splits."""
_STRAY = 0.1  # share of pictures beside the class folders up to which they are left out


def load(
    root: Path | None = None,
    *,
    argument: str,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    fractions: tuple[float, float] = (0.1, 0.1),
    seed: int = 0,
    large: int = LARGE,
) -> Dataset:
    """Loads every image file below a folder, links to folders included.

    With a size, each picture is scaled until it covers it and cropped about the centre; without
    one, all must have the same size. What cannot be used is left out, with a warning that
    counts and names it; `Dataset.origin.skipped` lists all with reasons.

    Subfolders `train` and `val` or `test` are splits and are kept; one of `val` and `test` that is
    not there is set aside from `train`. Other subfolders are classes; up to a tenth of the pictures
    may lie beside them, and is left out.

    Args:
        root: a relative path that is not found here is looked for there.
        argument: the folder.
        size: side of a square, or height and width.
        channels: 1 or 3; by default 3 if any picture is in colour.
        fractions: shares for validation and test, where the folder has no splits.
        seed: of the split.
        large: size in bytes from which the decoded images are kept in a temporary file.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if too few pictures can be used, or their sizes differ and none was asked for.
    """
    folder = find_path(argument, root)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {argument!r}; give the path of one")
    if channels not in (None, 1, 3):
        raise ValueError(f"expected 1 or 3 channels, got {channels}")
    both = sides(size)
    gathered = Gathered(both, channels=channels, large=large)
    files = {
        path.relative_to(folder).as_posix(): (path, why) for path, why in picture_files(folder)
    }
    splits = named_splits(files)
    strays = _strays(list(files), splits)
    for name, (path, reason) in files.items():
        if reason or name in strays:
            gathered.skipped.append(f"{name}: {reason or 'it is beside the subfolders'}")
        else:
            gathered.read(name, path)
    gathered.check(str(folder))
    kept = [PurePosixPath(name) for name in gathered.names]
    parents = [PurePosixPath(*path.parts[1 if splits else 0 : -1]).as_posix() for path in kept]
    parts = np.array([splits[top_folder(path)] for path in kept]) if splits else None
    data = divide(
        gathered.images(),
        _classes(parents),
        name=folder.resolve().name,
        layout="nchw",
        division=Division(fractions, seed, parts),
    )
    return replace(data, origin=Origin(skipped=tuple(gathered.skipped)))


def _classes(parents: Sequence[str]) -> NDArray[np.str_] | None:
    """The subfolder of each picture, where these are classes."""
    beside = parents.count(".")
    if 0 < beside < len(parents) / 2:
        warnings.warn(
            f"{beside} of {len(parents)} pictures lie beside the subfolders, so these are no "
            "classes; to have labels move each picture into the subfolder of its class",
            stacklevel=3,
        )
    return None if beside or len(set(parents)) < 2 else np.array(parents)


def sides(wanted: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """Height and width that pictures are scaled to."""
    if wanted is None:
        return None
    height, width = (wanted, wanted) if isinstance(wanted, int) else wanted
    if min(height, width) < 1:
        raise ValueError(f"expected a size of at least 1, or height and width, got {wanted}")
    return height, width


def top_folder(path: PurePosixPath) -> str:
    """The subfolder that a picture is in, or below."""
    return path.parts[0] if len(path.parts) > 1 else ""


def named_splits(names: Iterable[str]) -> dict[str, str]:
    """The part that each subfolder is, if the subfolders are splits."""
    found = {
        top: SPLITS.get(top.lower(), "") for top in {top_folder(PurePosixPath(n)) for n in names}
    }
    parts = [part for part in found.values() if part]
    if "train" not in parts or len(parts) < 2:
        return {}
    if len(set(parts)) < len(parts):
        raise ValueError(f"several subfolders are one split: {', '.join(sorted(found))}")
    return {top: part for top, part in found.items() if part}


def _strays(names: Sequence[str], splits: Mapping[str, str]) -> set[str]:
    """Pictures beside the splits, or beside the class folders if they are few."""
    tops = {name: top_folder(PurePosixPath(name)) for name in names}
    if splits:
        return {name for name, top in tops.items() if top not in splits}
    beside = {name for name, top in tops.items() if not top}
    classes = len(set(tops.values()) - {""}) > 1
    return beside if classes and len(beside) <= _STRAY * len(names) else set()
