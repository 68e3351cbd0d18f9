"""`narrows evaluate RUN`: measures of a run's model on a split."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import yaml

from narrows.cli import parsing


def run(arguments: list[str]) -> None:
    """Prints the figures as JSON."""
    from narrows import data as sources
    from narrows.training import evaluate
    from narrows.training.run import Run

    parser = parsing.parser("evaluate", "Measure a run's model on a split.")
    parser.add_argument("run", type=str, help="a run's folder")
    parser.add_argument("--data", type=str, default=None, help="default: the run's own")
    parser.add_argument("--data-root", type=str, default=None, help="folder looked in first")
    parser.add_argument("--split", type=str, default="test", choices=list(SPLITS))
    parser.add_argument(
        "--measures",
        action="store_true",
        help="also sharpness, structure of the codes, samples, what is retained, denoising; "
        "trains a small classifier, which takes a minute",
    )
    config = parsing.parse(parser, arguments)
    loaded = Run.load(config.run)
    options = {} if config.data else _options(loaded.folder)
    data = sources.load(config.data or loaded.data, root=config.data_root, **options)
    split = getattr(data, config.split)
    figures = evaluate(loaded.model, split, data.variance)
    if config.measures:
        from narrows.experiments.judge import Judge

        figures |= Judge(dataclasses.replace(data, test=split)).judge(loaded.model)
    print(json.dumps(figures, indent=1))


def _options(folder: Path | None) -> dict[str, Any]:
    """Of the run's own data set: a part of it, for instance."""
    path = None if folder is None else folder / "config.yaml"
    if path is None or not path.is_file():
        return {}
    return yaml.safe_load(path.read_text()).get("data_options") or {}


SPLITS = ("train", "validation", "test")
