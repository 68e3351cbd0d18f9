"""`folder:PATH`: a folder of image files, with class subfolders or without."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from narrows.data.arrays import from_array
from narrows.data.dataset import Dataset, Origin
from narrows.data.loaders.array import find_path
from narrows.data.mapped import LARGE
from narrows.data.reading.gathering import Gathered

ABOUT = "your own image files, classes by subfolder if there are any"
ARGUMENT = "PATH"
ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}


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
    """Loads every image file below a folder.

    With a size, each picture is scaled until it covers it and cropped about the centre; without
    one, all must have the same size. What cannot be used is left out, with a warning that
    counts and names it; `Dataset.origin.skipped` lists all with reasons.

    Args:
        root: a relative path that is not found here is looked for there.
        argument: the folder. If all images are in subfolders, those are the classes.
        size: side of a square, or height and width.
        channels: 1 or 3; by default 3 if the first usable picture is in colour.
        fractions: shares for validation and test.
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
    shape = (size, size) if isinstance(size, int) else tuple(size) if size is not None else None
    if shape is not None and (len(shape) != 2 or min(shape) < 1):
        raise ValueError(f"expected a size of at least 1, or height and width, got {size}")
    gathered = Gathered(shape, channels, large)  # pyright: ignore[reportArgumentType]
    for name, path in _files(folder):
        gathered.read(name, path)
    gathered.check(str(folder))
    names = [PurePosixPath(name).parent.as_posix() for name in gathered.names]
    labels = None if "." in names or len(set(names)) < 2 else np.array(names)
    data = from_array(
        gathered.images(), labels, name=folder.name, layout="nchw", fractions=fractions, seed=seed
    )
    return replace(data, origin=Origin(skipped=tuple(gathered.skipped)))


def _files(folder: Path) -> list[tuple[str, Path]]:
    """Image files below a folder by relative name, sorted, without following links to folders."""

    def walk() -> Iterator[Path]:
        for place, folders, names in os.walk(folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith(".") and Path(name).suffix.lower() in ENDINGS:
                    yield Path(place) / name

    return [(path.relative_to(folder).as_posix(), path) for path in walk()]
