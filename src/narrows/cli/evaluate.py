"""`narrows evaluate RUN`, its measures, and `narrows report RUN`, its page, of a finished run."""

import dataclasses
import json
import sys
from pathlib import Path

from narrows.cli import parsing, trained
from narrows.cli.main import UsageError


def evaluate(arguments: list[str]) -> None:
    """Prints the figures as JSON."""
    from narrows.functional.ranks import joined, rank, ranks
    from narrows.tasks.shown import shown, shown_by_examples
    from narrows.training import evaluation

    parser = parsing.parser("evaluate", "Measure a run's model on a split.")
    trained.add_options(parser)
    parser.add_argument(
        "--split", type=str, default="test", choices=list(SPLITS), help="split to evaluate on"
    )
    parser.add_argument(
        "--measures",
        action="store_true",
        help="also sharpness, structure of the codes and information in them (bits), samples, "
        "what is retained, denoising; trains a small classifier, which takes a minute",
    )
    config = parsing.parse(parser, arguments)
    with joined():
        if config.measures and ranks() > 1:
            raise UsageError("--measures is for one process: run it without torchrun")
        loaded, data = trained.load(config)
        split = getattr(data, config.split)
        with shown_by_examples("examples", len(split) / ranks()):
            figures = evaluation.evaluate(loaded.model, split, variance=data.variance, shared=True)
        if rank() > 0:
            return
    for sentence in evaluation.quality_advice(figures):
        print(f"note: {sentence}", file=sys.stderr)
    if config.measures:
        from narrows.compare.judge import Judge

        with shown("measures"):
            figures |= Judge(dataclasses.replace(data, test=split)).judge(loaded.model)
    print(json.dumps(figures, indent=1))


SPLITS = ("train", "validation", "test")


def report(arguments: list[str]) -> None:
    """Writes `report.html` of a run, such as one that was killed before it had its page.

    Of a folder that holds runs, and is none, `index.html`.
    """
    from narrows.compare.pages import index
    from narrows.compare.pages.run import write_one

    parser = parsing.parser(
        "report",
        "Write the page of a finished run again; of a folder of runs, one over all of them.",
    )
    trained.add_options(parser)
    config = parsing.parse(parser, arguments)
    folder = Path(config.run)
    if folder.is_dir() and not any((folder / name).exists() for name in index.OF_A_RUN):
        print(f"report: {index.write(folder)}")
        return
    loaded, data = trained.load(config)
    print(f"report: {write_one(loaded, data, folder=Path(config.run))}")
