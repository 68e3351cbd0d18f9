"""A finished run and the data it was trained on: what most commands begin with."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from narrows.saving.trust import read_configuration

if TYPE_CHECKING:
    from narrows.data.dataset import Dataset
    from narrows.training.run import Run


def add_options(parser: ArgumentParser) -> None:
    """RUN, --data and --data-root."""
    parser.add_argument("run", type=str, help="a run's folder")
    parser.add_argument("--data", type=str, default=None, help="default: the run's own")
    parser.add_argument("--data-root", type=str, default=None, help="folder looked in first")


def load(config: Namespace) -> "tuple[Run, Dataset]":
    """The run and its data.

    Raises:
        FileNotFoundError: if the folder holds no finished run.
    """
    from narrows.training.run import Run

    run = Run.load(config.run)
    return run, data(config, run)


def data(config: Namespace, run: "Run") -> "Dataset":
    """The data that --data names, else the run's own as it was trained on them.

    Raises:
        FileNotFoundError: if they are not there.
        ValueError: if there are no such data; a run on arrays in memory has none to load.
    """
    from narrows import data as sources

    if config.data:
        return sources.load(config.data, root=config.data_root)
    if not run.data:
        raise ValueError(f"{config.run} was imported without data; name them with --data")
    try:
        return sources.load(run.data, root=config.data_root, **_options(Path(config.run)))
    except (ValueError, FileNotFoundError) as error:
        text = f"the data of this run, {run.data!r}, cannot be loaded; --data names others"
        raise type(error)(f"{text}\n{error}") from error


def _options(folder: Path) -> dict[str, Any]:
    """Of the run's own data set: its size, or a part of it."""
    path = folder / "config.yaml"
    if not path.is_file():
        return {}
    return read_configuration(path).get("data_options") or {}
