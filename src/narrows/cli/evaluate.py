"""`narrows evaluate RUN`: measures of a run's model on a split."""

import json

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
    config = parsing.parse(parser, arguments)
    loaded = Run.load(config.run)
    data = sources.load(config.data or loaded.data, root=config.data_root)
    figures = evaluate(loaded.model, getattr(data, config.split), data.variance)
    print(json.dumps(figures, indent=1))


SPLITS = ("train", "validation", "test")
