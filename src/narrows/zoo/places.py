"""Where a model's files are: in the wheel, in a folder or at an address that was named, cached."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from narrows.autoencoder import Autoencoder
from narrows.data import Dataset
from narrows.data import load as load_data
from narrows.data.reading.files import cache_folder
from narrows.zoo.catalogue import ROOM, Entry, find

VARIABLE = "NARROWS_ZOO"
"""Environment variable that names the folder or the address with the models."""


def load(name: str, *, base: str | Path | None = None) -> Autoencoder:
    """A model of the zoo, in eval.

    Args:
        name: of the model; `narrows.zoo.list()` has all.
        base: as `path` takes it.

    Raises:
        FileNotFoundError: if its files are not here.
        ValueError: if there is no such model, or a file is damaged.

    Example:
        >>> import narrows as nw
        >>> model = nw.zoo.load("digits-vq")
        >>> images = nw.data.load("digits").test.batch(torch.arange(2))
        >>> model.encode(images).shape
        torch.Size([2, 4, 4])
    """
    return Autoencoder.load(path(name, base=base))


def path(name: str, *, base: str | Path | None = None) -> Path:
    """The folder of a model, whose files are those that the list has checksums of.

    It is looked for in the wheel, in `base`, in the checkout that narrows runs from, and among
    those fetched before.

    Args:
        name: of the model.
        base: the folder `zoo` of a checkout of narrows, or an address (https://...) below which
            its content is found; by default what the environment variable NARROWS_ZOO names.

    Raises:
        FileNotFoundError: if it is at none of these places.
        ValueError: if there is no such model, or a file is damaged.
    """
    entry = find(name)
    named = base if base is not None else os.environ.get(VARIABLE) or None
    for folder in _folders(entry, named):
        if folder.is_dir():
            return entry.check(folder)
    if _is_address(named):
        return fetch(name, base=str(named))
    raise FileNotFoundError(
        f"the model {name!r} is not part of the wheel: it is in the folder zoo of narrows' "
        f"repository; name that folder of a checkout, or the address of its files, in {VARIABLE} "
        f"or by base=; to keep it: narrows zoo fetch {name} --from ADDRESS"
    )


def fetch(name: str, *, base: str) -> Path:
    """Downloads a model into the cache; files that are not those listed are refused.

    Args:
        name: of the model.
        base: address below which `NAME/model.json` and the other files are.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: if a file cannot be had from there, or is another than the one listed.
        ValueError: if there is no such model, or the address is none.
    """
    import pooch

    entry = find(name)
    if not _is_address(base):
        raise ValueError(f"expected an address that begins with https://, got {base!r}")
    pooch.get_logger().setLevel(logging.WARNING)
    folder = _cached(entry)
    for file, (checksum, _) in entry.files.items():
        url = f"{base.rstrip('/')}/{name}/{file}"
        try:
            pooch.retrieve(url, f"sha256:{checksum}", file, folder)
        except (OSError, ValueError) as error:
            raise FileNotFoundError(f"{url} does not give the model's file: {error}") from None
    return entry.check(folder)


def data(name: str, root: str | Path | None = None) -> Dataset:
    """The data that a model was trained on, as it was trained on them.

    Args:
        name: of the model.
        root: as `narrows.data.load` takes it.

    Raises:
        FileNotFoundError: if they are not here and cannot be had.
        ValueError: if there is no such model.
    """
    entry = find(name)
    return load_data(entry.source, root, **entry.options)  # type: ignore[arg-type]


def _folders(entry: Entry, named: str | Path | None) -> Iterator[Path]:
    yield ROOM / "models" / entry.name
    if named is not None and not _is_address(named):
        yield Path(named).expanduser() / entry.name
    yield ROOM.parents[2] / "zoo" / entry.name  # of a checkout: src/narrows/zoo stands in it
    yield _cached(entry)


def _cached(entry: Entry) -> Path:
    return cache_folder().parent / "zoo" / entry.name


def _is_address(named: object) -> bool:
    return str(named).startswith(("https://", "http://"))
