"""`narrows evaluate RUN`: measures of a run's model on a split."""

import dataclasses
import json
import sys

from narrows.cli import parsing, trained


def run(arguments: list[str]) -> None:
    """Prints the figures as JSON."""
    from narrows.training.evaluation import evaluate, quality_advice

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
    loaded, data = trained.load(config)
    split = getattr(data, config.split)
    figures = evaluate(loaded.model, split, variance=data.variance)
    for sentence in quality_advice(figures):
        print(f"note: {sentence}", file=sys.stderr)
    if config.measures:
        from narrows.compare.judge import Judge

        figures |= Judge(dataclasses.replace(data, test=split)).judge(loaded.model)
    print(json.dumps(figures, indent=1))


SPLITS = ("train", "validation", "test")
