"""`narrows choose`: which latent, at these bits, in this time."""

import shlex
import sys
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from narrows.cli import parsing
from narrows.cli.compare import add_workers, default_jobs, labels, pair, rates
from narrows.cli.main import INTERRUPTED, UsageError
from narrows.saving.trust import trusting_words
from narrows.training.run import fresh

CONTENDERS = (
    "ae", "vae", "vae-laplace", "vq", "vq-entropy", "rvq", "fsq", "simvq", "rounded",
    "rounded-hyper", "sparse-omp", "sparse-lasso", "sparse-topk",
)  # fmt: skip
"""One recipe a family, and its variants that were made for a rate."""

_ABOUT = """Find out which latent to use at a number of bits per dimension, in a number of minutes.

Trains all contenders for that rate: short runs first, which drop who is far behind, then longer
runs with seed after seed until one is ahead for certain, or all that are left are equally good.
Says which, how sure that is, and the command that trains it.

Runs are kept in OUT/runs: the same command goes on where it was stopped, also with more minutes.
"""


def run(arguments: list[str]) -> int:
    """Runs the races, writes the page; exit code 1 if no rate has an answer."""
    config = parsing.parse(_parser(), arguments)
    return _run(config, shlex.join(["narrows", "choose", *arguments, *trusting_words()]))


def _parser() -> ArgumentParser:
    parser = parsing.parser("choose", _ABOUT)
    parser.add_argument("--data", type=str, default="digits", help="`narrows data` lists them")
    parser.add_argument("--bits", type=str, default="0.5", help="per dimension: R1,R2,...")
    parser.add_argument("--minutes", type=float, default=10.0, help="wall-clock, for all of it")
    parser.add_argument(
        "--recipes", type=str, default="", help="names or files; default one of each family"
    )
    parser.add_argument(
        "--data-options", type=dict, default={}, help="arguments of the data set's own load"
    )
    parser.add_argument(
        "--set", type=str, action="append", help="ARG=VALUE for all runs, as fit.batch_size=128"
    )
    add_workers(parser)
    parser.add_argument("--out", type=str, default=None, help="folder; default runs/choose, ...")
    return parser


def _run(config: Namespace, command: str) -> int:
    from narrows.choose.answer import sentences
    from narrows.choose.page import write
    from narrows.choose.procedure import choose
    from narrows.choose.question import Question
    from narrows.compare.bench import Source
    from narrows.tasks.on_ray import OnRay

    jobs = default_jobs() if config.jobs is None else config.jobs
    if jobs < 1 or not config.minutes > 0:
        raise UsageError(
            f"--jobs must be at least 1 and --minutes above 0, got {jobs} and {config.minutes}"
        )
    question = Question(
        recipes=labels([w for w in config.recipes.split(",") if w] or list(CONTENDERS)),
        source=Source(config.data, parsing.values(config.data_options)),
        rates=rates(config.bits, "--bits"),
        minutes=config.minutes,
        settings=dict(pair(word, "--set") for word in config.set or []),
    )
    data = question.source.load()
    out = Path(config.out or fresh("runs/choose"))
    choice = choose(
        question,
        data,
        out=out,
        workers=jobs,
        say=lambda line: print(line, file=sys.stderr, flush=True),
        executor=None if config.ray is None else OnRay(config.ray),
    )
    path = write(choice, data, out=out, command=command)
    for sentence in sentences(choice):
        print(sentence)
    print(f"report: {path}, {out / 'report.md'}\nfigures: {out / 'results.csv'}")
    if choice.stopped:
        return INTERRUPTED
    return 0 if any(verdict.ranking for verdict in choice.verdicts.values()) else 1
