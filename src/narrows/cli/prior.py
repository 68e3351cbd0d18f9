"""`narrows prior RUN --kind pixelcnn`: fits a prior to a run's codes."""

import contextlib
import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from narrows.autoencoder import Autoencoder
from narrows.cli import parsing, trained
from narrows.cli.main import UsageError
from narrows.functional.ranks import joined, rank, ranks
from narrows.saving.model import MODEL
from narrows.saving.trust import trust_options
from narrows.saving.writing import sole_writer, write_json
from narrows.tasks.shown import shown_by_examples

if TYPE_CHECKING:
    from narrows.data.dataset import Dataset
    from narrows.training.priors import PriorRecipe

OPTIONS = {"width": "hidden", "components": "components", "step": "step", "epochs": "epochs"}
"""Options of the command line and what they are called by the priors that have them."""


def run(arguments: list[str]) -> None:
    """Fits, saves the model with its new prior under RUN/priors/NAME, prints bits per example."""
    from narrows.training.priors import fit_prior, shipped_recipes

    known = shipped_recipes()
    kinds = "\n".join(f"{n:{max(map(len, known))}}  {one.about}" for n, one in known.items())
    parser = parsing.parser(
        "prior", f"Fit a prior to the codes of a run's model. Kinds:\n\n{kinds}"
    )
    trained.add_options(parser)
    _add_options(parser)
    config = parsing.parse(parser, arguments)
    recipe = _recipe(config)
    with joined():
        loaded, data = trained.load(config)
        model, folder = loaded.model, Path(config.run) / "priors" / recipe.name
        with contextlib.ExitStack() as held:
            if rank() == 0:
                held.enter_context(sole_writer(folder))
                total = _examples(recipe, data) / ranks()
                held.enter_context(shown_by_examples(recipe.name, total))
                held.enter_context(_epochs_shown())
            fitted = fit_prior(model, data, prior=recipe, seed=config.seed)
            if rank() > 0:
                return
            model.prior, report = fitted.prior, fitted.report
            model.save(folder)
            write_json(folder / "prior.json", dataclasses.asdict(report))
    print(
        f"{recipe.name}: {report.test:.4g} bits per example on the test split (validation "
        f"{report.validation:.4g}; the run's own prior {report.default_test:.4g})"
    )
    trust = trust_options(folder)  # the model's own parts and the prior's
    print(f"next:\n  narrows sample {config.run} --prior {recipe.name}{trust}")
    print(f"  narrows compress {config.run} IMAGE... --prior {recipe.name}{trust}")


def _examples(recipe: "PriorRecipe", data: "Dataset") -> int:
    """How many go through the model, and through a network at each epoch."""
    passes = recipe.epochs if recipe.learned else 0
    return (1 + passes) * len(data.train) + len(data.validation) + 2 * len(data.test)


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--kind", type=str, required=True,
        help="one of these, a YAML file of your own, or the class path of your own prior",
    )  # fmt: skip
    parser.add_argument("--epochs", type=int, default=None, help="passes, if trained by gradient")
    parser.add_argument("--width", type=int, default=None, help="hidden width of the network")
    parser.add_argument(
        "--conditional", type=bool, default=False, help="condition pixelcnn on the data's labels"
    )
    parser.add_argument("--step", type=float, default=None, help="quantisation step of values")
    parser.add_argument("--components", type=int, default=None, help="components of a mixture")
    parser.add_argument(
        "--prior-options", type=dict, default={}, help="other arguments of the prior's class"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the fit")


def _recipe(config: Namespace) -> "PriorRecipe":
    """What the command line asks for.

    Raises:
        UsageError: if there is no such prior.
        ValueError: if it does not have the arguments that are asked for.
    """
    from narrows.training.priors import find_recipe

    try:
        recipe = find_recipe(config.kind)
    except ValueError as error:
        raise UsageError(str(error)) from error
    given = {own: config[name] for name, own in OPTIONS.items() if config[name] is not None}
    recipe = recipe.with_options(given)
    own = {**recipe.arguments, **parsing.values(config.prior_options)}
    return dataclasses.replace(recipe, arguments=own, conditional=config.conditional)


@contextlib.contextmanager
def _epochs_shown() -> Iterator[None]:
    """Shows on stderr what each epoch of a fit reached."""
    logger, handler = logging.getLogger("narrows.training.priors"), logging.StreamHandler()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def load(run_folder: str, name: str | None) -> Autoencoder:
    """A run's model, with one of its fitted priors if a name (or what --kind took) is given.

    Raises:
        FileNotFoundError: if that prior has not been fitted.
    """
    from narrows.training.run import Run

    if name is None:
        return Run.load(run_folder).model
    short = Path(name).stem if name.endswith((".yaml", ".yml")) else name.rpartition(".")[2]
    folder = Path(run_folder) / "priors" / short
    if not (folder / MODEL).is_file():
        raise FileNotFoundError(
            f"{run_folder} has no fitted prior {name!r}; first: narrows prior {run_folder} "
            f"--kind {name}{trust_options(Path(run_folder))}"
        )
    return Autoencoder.load(folder)
