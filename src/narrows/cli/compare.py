"""`narrows compare RECIPE...`: the same data and budget for several latents."""

import difflib
import itertools
import math
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from narrows.cli import parsing, recipes
from narrows.cli.main import UsageError
from narrows.saving.trust import trusting, trusting_words
from narrows.training.run import fresh

if TYPE_CHECKING:
    from narrows.compare.comparison import Comparison
    from narrows.compare.parts import Part
    from narrows.compare.plan import Plan, Sweep
    from narrows.compare.run import Job
    from narrows.tasks import Outcome, Report
    from narrows.training.priors import PriorRecipe

_ABOUT = """Train several recipes on the same data with several seeds, and compare them.

Runs are kept in OUT/runs: the same command again does only what is missing, and goes on with
what was stopped. A failed run is shown and stops no other.
"""


def run(arguments: list[str]) -> int:
    """Runs the plan, writes the page; exit code 1 if a run failed."""
    config = parsing.parse(_parser(), _settings_in_full(arguments))
    return _run(config, shlex.join(["narrows", "compare", *arguments, *trusting_words()]))


def _parser() -> ArgumentParser:
    """What is compared, then how much is measured of it, then where and by whom it is run."""
    parser = parsing.parser("compare", _ABOUT)
    _add_runs(parser)
    _add_rates(parser)
    add_workers(parser)
    parser.add_argument(
        "--skip-measures",
        action="store_true",
        help="leave out samples' distances, retention, sharpness, denoising",
    )
    parser.add_argument(
        "--language",
        type=str,
        default="",
        metavar="MODEL",
        help="language model that the activations came from: also measure the loss recovered",
    )
    parser.add_argument(
        "--umap", action="store_true", help="codes by UMAP, not PCA (pip install narrows[umap])"
    )
    parser.add_argument("--out", type=str, default=None, help="folder; default runs/compare, ...")
    parser.add_argument(
        "--part",
        type=str,
        default=None,
        metavar="I/N",
        help="make every N-th run only, from the I-th on: N machines share OUT, and the same "
        "command without --part makes the page",
    )
    return parser


def add_workers(parser: ArgumentParser) -> None:
    """How many processes train, and where."""
    parser.add_argument("--jobs", type=int, default=None, help="processes; default one a core")
    parser.add_argument(
        "--ray",
        type=str,
        default=None,
        metavar="ADDRESS",
        help="run on a Ray cluster: auto, ray://HOST:10001, or local (pip install narrows[ray])",
    )


def _add_runs(parser: ArgumentParser) -> None:
    parser.add_argument("recipes", type=str, nargs="+", help="names from `narrows recipes`, files")
    parser.add_argument("--data", type=str, default="digits", help="`narrows data` lists them")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each, seeds 0, 1, ...")
    parser.add_argument(
        "--data-options",
        type=dict,
        default={},
        help="arguments of the data set's own load, and train_examples, test_examples for a part",
    )
    parser.add_argument(
        "--sweep",
        type=str,
        action="append",
        help="[RECIPE:]ARG=V1,V2,... (may be repeated); auto: what moves each recipe's rate",
    )
    parser.add_argument(
        "--set",
        type=str,
        action="append",
        help="ARG=VALUE for all runs, as fit.optimization.clip=1; --epochs, --batch-size and "
        "--learning-rate are short for those of fit",
    )


def _add_rates(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--at",
        type=str,
        default="",
        metavar="R1,R2,...",
        help="train every recipe for each of these numbers of bits per dimension, and compare the "
        "files of test examples",
    )
    parser.add_argument(
        "--steps",
        type=str,
        default="0.5,1,2,4,8",
        help="factors of the step that plain and sparse codes are rounded to: more rates of the "
        "same runs",
    )
    parser.add_argument(
        "--priors",
        type=str,
        default="",
        metavar="KIND,...",
        help="also code every run under these kinds of `narrows prior` (or class paths, YAML "
        "files), those that suit its codes: bits, real files, samples",
    )
    parser.add_argument(
        "--prior-options",
        type=dict,
        default={},
        help="epochs, width, components and other arguments of these priors",
    )
    parser.add_argument(
        "--files", type=int, default=500, help="test images written to a file under each prior"
    )


def _run(config: Namespace, command: str) -> int:
    from narrows.compare.bench import Source, check_language
    from narrows.compare.comparison import compare
    from narrows.compare.pages.comparison import write
    from narrows.compare.parts import sharing
    from narrows.report import principal_plane, umap_plane
    from narrows.tasks.on_ray import OnRay

    plan, part = _plan(config), _part(config)
    jobs = default_jobs() if config.jobs is None else config.jobs
    if config.seeds < 1 or jobs < 1:
        raise UsageError(f"--seeds and --jobs must be at least 1, got {config.seeds} and {jobs}")
    if config.umap:
        umap_plane([[0.0]] * 6)  # says at once if it is not installed
    data = Source(plan.data, plan.options).load()  # is it there, before anything runs?
    check_language(config.language, data)
    out = Path(config.out or fresh("runs/compare"))
    total = len(plan.jobs() if part is None else part.of(plan.jobs()))
    executor = None if config.ray is None else OnRay(config.ray)
    with trusting(plan.class_paths), sharing(out, part):
        comparison = compare(
            plan, out, workers=jobs, report=_counted(total), executor=executor,
            measures=not config.skip_measures, part=part,
        )  # fmt: skip
        if total and len(comparison.failures) == total:
            raise RuntimeError(f"all {total} runs failed; the first: {comparison.failures[0]}")
        if part is None:
            plane = umap_plane if config.umap else principal_plane
            path = write(comparison, data, out=out, command=command, project=plane)
            _say(comparison, path, out)
        else:
            _say_part(comparison, out, part)
    failed = (comparison.failures, comparison.failed_priors, comparison.failed_measures)
    return int(any(failed))


def _counted(total: int) -> "Report[Job]":
    """Shows each run as it comes, and how many there will be."""
    numbers = itertools.count(1)

    def report(outcome: "Outcome[Job]") -> None:
        state = outcome.error or f"{outcome.cost.seconds:.0f} s"
        line = f"[{next(numbers)}/{total}] {outcome.task.key}: {state}"
        print(line, file=sys.stderr, flush=True)

    return report


def _say_part(comparison: "Comparison", out: Path, part: "Part") -> None:
    """Prints what is wrong, how much is there, and what comes next."""
    for sentence in (*comparison.failures, *comparison.failed_priors, *comparison.failed_measures):
        print(f"note: {sentence}")
    total, failed = len(comparison.outcomes), len(comparison.failures)
    print(f"part {part} of the runs in {out}: {total - failed} of {total} finished")
    print("when all parts have ended: the same command without --part makes the page")


def _part(config: Namespace) -> "Part | None":
    """The part that --part asks for."""
    from narrows.compare.parts import Part

    if config.part is None:
        return None
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", config.part)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise UsageError(
            f"--part takes I/N with I from 1 to N, such as 2/8; got {config.part!r} (number the "
            "tasks of a SLURM array from 1)"
        )
    if config.out is None:
        raise UsageError("--part needs --out: the folder that all parts share")
    if config.ray is not None:
        raise UsageError("--part and --ray both spread the runs: give one of them")
    return Part(int(found[1]), int(found[2]))


def _plan(config: Namespace) -> "Plan":
    """What the command line asks for."""
    from narrows.compare.plan import AfterTraining, Plan

    files = labels(config.recipes)
    sweep = _sweep(config, files)
    try:
        steps = [float(word) for word in config.steps.split(",")]
    except ValueError:
        steps = []
    if not steps or min(steps) <= 0:
        raise UsageError(f"--steps takes positive factors, such as 1,2,4; got {config.steps!r}")
    if config.files < 1:
        raise UsageError(f"--files must be at least 1, got {config.files}")
    if config.at:
        steps = [1.0]
    return Plan(
        recipes=files,
        data=config.data,
        seeds=range(config.seeds),
        settings=dict(pair(word, "--set") for word in config.set or []),
        sweep=sweep,
        options=parsing.values(config.data_options),
        after=AfterTraining(
            steps=steps,
            priors=_priors(config.priors, parsing.values(config.prior_options), files),
            files=config.files,
            language=config.language,
        ),
    )


def _sweep(config: Namespace, files: Mapping[str, Path]) -> "Sweep":
    """What is varied: the words of --sweep, or the rates of --at."""
    from narrows.compare.asked import RATE
    from narrows.compare.sweeps import automatic

    found: dict[str, Sequence[str]] = {}
    for word in config.sweep or []:
        if word == "auto":
            found |= automatic(files)
        else:
            name, values = pair(word, "--sweep")
            _check_owner(name, files)
            found[name] = _values(values)
    if config.at and found:
        raise UsageError("--at trains for rates, and --sweep for arguments: give one of them")
    if config.at:
        found[RATE] = [f"{rate:g}" for rate in rates(config.at, "--at")]
    return found


def _check_owner(name: str, files: Mapping[str, Path]) -> None:
    """Refuses a sweep of a recipe that is not compared."""
    owner, colon, argument = name.rpartition(":")
    if colon and owner not in files:
        near = difflib.get_close_matches(owner, files, 1, 0.3)
        hint = f"did you mean {near[0]}:{argument}? " if near else ""
        raise UsageError(
            f"--sweep {name}: there is no recipe {owner!r} here; {hint}compared are "
            f"{', '.join(files)}"
        )


def labels(names: Sequence[str]) -> dict[str, Path]:
    """Recipes' files by label: the name of a file or run, and its path where names agree."""
    files = {name: recipes.find(name) for name in dict.fromkeys(names)}
    parts = {}
    for name in files:
        path = Path(name)
        plain = path.with_suffix("") if path.suffix in (".yaml", ".yml") else path
        parts[name] = [part for part in plain.parts if part not in ("/", "..")] or [name]
    depths = dict.fromkeys(files, 1)
    while True:
        found = {name: "/".join(parts[name][-depths[name] :]) for name in files}
        alike = {name for name, label in found.items() if list(found.values()).count(label) > 1}
        longer = [name for name in alike if depths[name] < len(parts[name])]
        if not longer:
            return {name if name in alike else found[name]: path for name, path in files.items()}
        for name in longer:
            depths[name] += 1


def _priors(
    words: str, options: Mapping[str, Any], files: Mapping[str, Path]
) -> "list[PriorRecipe]":
    """The priors asked for, each of which suits one of the recipes.

    Raises:
        UsageError: for a prior that there is not or that suits no recipe, for an option that
            there is not, and for one that is not a number above 0.
    """
    from narrows.cli.prior import OPTIONS
    from narrows.compare.plan import code_spaces
    from narrows.training.priors import find_recipe

    names = dict.fromkeys(word.strip() for word in words.split(",") if word.strip())
    given = {OPTIONS.get(name, name): value for name, value in options.items()}
    try:
        recipes = [find_recipe(name) for name in names]
    except ValueError as error:
        raise UsageError(f"--priors: {error}") from error
    known = {*OPTIONS, *(name for recipe in recipes for name in recipe.takes)}
    for name, value in options.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"
            raise UsageError(f"--prior-options has no {name!r}; {hint}")
        if name in ("epochs", "width", "components") and not (isinstance(value, int) and value > 0):
            raise UsageError(f"--prior-options.{name} takes a number from 1, got {value!r}")
    recipes = [recipe.with_options(given) for recipe in recipes]
    spaces = code_spaces(files) if recipes else {}
    for recipe in recipes:
        refused = {name: recipe.refusal(codes, (2, 2)) for name, codes in spaces.items()}
        if refused and all(refused.values()):
            reasons = "; ".join(f"{label}: {reason}" for label, reason in refused.items())
            raise UsageError(f"--priors {recipe.name} suits none of these recipes: {reasons}")
    return recipes


def rates(words: str, option: str) -> list[float]:
    """Bits per dimension between commas, by rising bits."""
    try:
        found = [float(word) for word in words.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 < rate < math.inf for rate in found):
        raise UsageError(f"{option} takes bits per dimension above 0, as 0.5,1; got {words!r}")
    return sorted(set(found))


def default_jobs() -> int:
    """One process a core, where training runs on the CPU; one where it shares a GPU."""
    import torch

    return 1 if torch.cuda.is_available() else min(os.cpu_count() or 1, 8)


def _say(comparison: "Comparison", path: Path, out: Path) -> None:
    """Prints the answer, what is wrong, and where everything is."""
    from narrows.compare.pages.verdicts import sentences

    for sentence in sentences(comparison):
        print(sentence)
    for sentence in comparison.warnings:
        print(f"note: {sentence}")
    numbers = [name for name in ("results.parquet",) if (out / name).is_file()]
    listed = ", ".join(str(out / name) for name in ["results.csv", *numbers, "metrics.json"])
    print(f"report: {path}, {out / 'report.md'}\nfigures: {listed}")


def _values(text: str) -> list[str]:
    """Values between commas; those within brackets stay together."""
    return re.findall(r"(?:\[[^\]]*\]|[^,\[])+", text)


def _settings_in_full(arguments: Sequence[str]) -> list[str]:
    """The words with `--epochs 5` as `--set fit.epochs=5`, and so on."""
    found, words = list[str](), iter(arguments)
    for word in words:
        option, equals, value = word.partition("=")
        if option in recipes.SHORT and option != "--seed":
            found += ["--set", f"{recipes.SHORT[option]}={value if equals else next(words, '')}"]
        else:
            found.append(word)
    return found


def pair(word: str, option: str) -> tuple[str, str]:
    """The two sides of ARG=VALUE."""
    name, equals, value = word.partition("=")
    if not equals or not name or not value:
        raise UsageError(f"{option} takes ARG=VALUE, such as fit.epochs=10; got {word!r}")
    return name, value
