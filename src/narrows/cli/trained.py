"""A finished run and the data it was trained on: what most commands begin with."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jsonargparse import ArgumentParser, Namespace

if TYPE_CHECKING:
    from narrows.data.base import Dataset
    from narrows.training.run import Run


def add_options(parser: ArgumentParser) -> None:
    """RUN, --data and --data-root."""
    parser.add_argument("run", type=str, help="a run's folder")
    parser.add_argument("--data", type=str, default=None, help="default: the run's own")
    parser.add_argument("--data-root", type=str, default=None, help="folder looked in first")


def load(config: Namespace) -> "tuple[Run, Dataset]":
    """The run, and its own data as it was trained on them, or those that --data names.

    Raises:
        FileNotFoundError: if the folder holds no finished run, or the data are not there.
    """
    from narrows import data as sources
    from narrows.training.run import Run

    run = Run.load(config.run)
    options = {} if config.data else _options(Path(config.run))
    return run, sources.load(config.data or run.data, root=config.data_root, **options)


def _options(folder: Path) -> dict[str, Any]:
    """Of the run's own data set: its size, or a part of it."""
    path = folder / "config.yaml"
    if not path.is_file():
        return {}
    return yaml.safe_load(path.read_text()).get("data_options") or {}
