"""`narrows compare RECIPE...`: the same data and budget for several latents."""

import shlex
import sys
from pathlib import Path

from jsonargparse import Namespace

from narrows.cli import parsing, recipes
from narrows.cli.main import UsageError
from narrows.training.run import fresh

_ABOUT = """Train several recipes on the same data with several seeds, and compare them.

Runs are kept in OUT/runs: the same command again does only what is missing, and goes on with
what was stopped. A failed run is shown and stops no other.
"""


def run(arguments: list[str]) -> int:
    """Runs the plan, writes the page; exit code 1 if a run failed."""
    parser = parsing.parser("compare", _ABOUT)
    parser.add_argument("recipes", type=str, nargs="+", help="names from `narrows recipes`, files")
    parser.add_argument("--data", type=str, default="digits", help="`narrows data` lists them")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each, seeds 0, 1, ...")
    parser.add_argument(
        "--sweep", type=str, action="append", help="[RECIPE:]ARG=V1,V2,... (may be repeated)"
    )
    parser.add_argument(
        "--set", type=str, action="append", help="ARG=VALUE for all runs, as fit.epochs=10"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--out", type=str, default=None, help="folder; default runs/compare, ...")
    config = parsing.parse(parser, arguments)
    command = shlex.join(["narrows", "compare", *arguments])
    return _run(config, command)


def _run(config: Namespace, command: str) -> int:
    from narrows import data as sources
    from narrows.experiments.compare import Plan, compare
    from narrows.experiments.comparison_page import write
    from narrows.experiments.jobs import Outcome

    if config.seeds < 1 or config.jobs < 1:
        raise UsageError(
            f"--seeds and --jobs must be at least 1, got {config.seeds} and {config.jobs}"
        )
    files = {Path(name).stem: recipes.find(name) for name in config.recipes}
    plan = Plan(
        recipes=files,
        data=config.data,
        seeds=range(config.seeds),
        settings=dict(_pair(word, "--set") for word in config.set or []),
        sweep={
            name: values.split(",")
            for name, values in (_pair(word, "--sweep") for word in config.sweep or [])
        },
    )
    data = sources.load(config.data)  # also settles whether it is there before anything runs
    out = Path(config.out or fresh("runs/compare"))
    total, done = len(plan.jobs()), 0

    def report(outcome: Outcome) -> None:
        nonlocal done
        done += 1
        state = outcome.error or f"{outcome.seconds:.0f} s"
        print(f"[{done}/{total}] {outcome.job.key}: {state}", file=sys.stderr, flush=True)

    comparison = compare(plan, out, config.jobs, report)
    if len(comparison.failures) == total:
        raise RuntimeError(f"all {total} runs failed; the first: {comparison.failures[0]}")
    path = write(comparison, data, out, command)
    for sentence in [*comparison.failures, *plan.differences()]:
        print(f"note: {sentence}")
    print(f"report: {path}\nfigures: {out / 'results.csv'}, {out / 'metrics.json'}")
    return 1 if comparison.failures else 0


def _pair(word: str, option: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals or not name or not value:
        raise UsageError(f"{option} takes ARG=VALUE, such as fit.epochs=10; got {word!r}")
    return name, value
