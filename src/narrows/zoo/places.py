"""Where a model's files are: in the wheel, in a folder or at an address that was named, cached."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from narrows.autoencoder import Autoencoder
from narrows.data import Dataset
from narrows.data import load as load_data
from narrows.data.reading.files import cache_folder
from narrows.recorded import FORMAT
from narrows.saving.writing import write_text, write_yaml
from narrows.training.run import Run, claim_folder
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
        >>> import torch, narrows as nw
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
    entry, named = find(name), _named(base)
    for folder in _folders(entry, named):
        return entry.check(folder)
    if _is_address(named):
        return _fetched(entry, str(named))
    raise FileNotFoundError(
        f"the model {name!r} is not installed with narrows: it is in the folder zoo of narrows' "
        "repository; name that folder of a checkout, or the address below which its files are, by "
        f"narrows zoo fetch {name} --from PLACE, by base= in Python or in {VARIABLE}"
    )


def is_here(name: str, *, base: str | Path | None = None) -> bool:
    """True if a model has a folder here, so that nothing would be downloaded; as `path` looks.

    Args:
        name: of the model.
        base: as `path` takes it.

    Raises:
        ValueError: if there is no such model.
    """
    return any(_folders(find(name), _named(base)))


def as_run(name: str, *, out: str | Path, base: str | Path | None = None) -> Run:
    """Writes a model as the folder of a run, so that every command takes it.

    Its figures are those of the test split; it has no history, and no configuration to train again.

    Args:
        name: of the model.
        out: folder, new or empty.
        base: as `path` takes it.

    Raises:
        FileExistsError: if `out` holds something already.
        FileNotFoundError: if the model's files are not here.
        ValueError: if there is no such model, or a file is damaged.
    """
    entry, model = find(name), load(name, base=base)
    folder = claim_folder(out)
    test = dict(entry.figures)
    run = Run(model, validation={}, test=test, history=[], data=entry.source, folder=folder)
    write_text(folder / "metrics.jsonl", "")
    content = {"data": entry.source, "data_options": dict(entry.options), "format": FORMAT}
    write_yaml(folder / "config.yaml", content)
    run.write(folder, None)
    return run


def _fetched(entry: Entry, base: str) -> Path:
    """Downloads a model into the cache; files that are not those listed are refused.

    Raises:
        FileNotFoundError: if a file cannot be had from there, or is another than the one listed.
    """
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    folder = _cached(entry)
    for file, (checksum, _) in entry.files.items():
        url = f"{base.rstrip('/')}/{entry.name}/{file}"
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
    try:
        return load_data(entry.source, root, **entry.options)  # type: ignore[arg-type]
    except FileNotFoundError as error:
        where = "docs/zoo.md says where to get them; --data names others"
        text = f"the data of {name!r}, {entry.source!r}, are not here: {where}\n{error}"
        raise FileNotFoundError(text) from error


def _folders(entry: Entry, named: str | Path | None) -> Iterator[Path]:
    """The folders that are there, in the order in which they are looked for."""
    own = [] if named is None or _is_address(named) else [Path(named).expanduser()]
    checkout = ROOM.parents[3] / "zoo"  # where src/narrows/zoo/models stands in it
    for room in (ROOM, *own, checkout, _cached(entry).parent):
        if (room / entry.name).is_dir():
            yield room / entry.name


def _named(base: str | Path | None) -> str | Path | None:
    return base if base is not None else os.environ.get(VARIABLE) or None


def _cached(entry: Entry) -> Path:
    return cache_folder().parent / "zoo" / entry.name


def _is_address(named: object) -> bool:
    return str(named).startswith(("https://", "http://"))
