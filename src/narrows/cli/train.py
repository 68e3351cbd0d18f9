"""`narrows train RECIPE`: a recipe, a data set, a run folder."""

import argparse
import inspect
import math
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from narrows.autoencoder import Objective
from narrows.bottlenecks.base import Bottleneck
from narrows.cli import parsing, recipes
from narrows.cli.main import UsageError
from narrows.data.dataset import Dataset
from narrows.functional.ranks import rank
from narrows.likelihoods import Likelihood
from narrows.networks import Network, Transformer
from narrows.recorded import FORMAT, class_at
from narrows.saving.trust import trust_options
from narrows.saving.writing import read_yaml
from narrows.training.fit import fit
from narrows.training.run import Run, fresh
from narrows.training.seeding import keep_memory

_ABOUT = """Train RECIPE: a name from `narrows recipes`, a YAML file, or a run's folder.

`narrows train --resume RUN` goes on with a run that was stopped.
Any argument of any part can be set: --model.bottleneck.size 1024, --fit.checkpoints.seconds 9.
--epochs, --seed, --batch-size and --learning-rate are short for those of fit. A recipe of narrows
takes another network where the data are vectors.

--print_config shows what would run.
"""


def run(arguments: list[str]) -> None:
    """Trains or resumes, and prints the figures and what to do next."""
    keep_memory()
    if not arguments or arguments[0] in ("-h", "--help"):
        parser().print_help()
        return None
    if arguments[0] == "--resume":
        return _resume(arguments[1:])
    if arguments[0].startswith("-"):
        raise UsageError(
            f"expected the recipe first, got {arguments[0]!r}; for example: narrows train vq"
        )
    recipe, words = recipes.find(arguments[0]), recipes.in_full(arguments[1:])
    sections = {name: inspect.signature(of).parameters for name, of in _SECTIONS.items()}
    parsing.check_recipe(recipe, sections)
    config = parsing.parse(parser(), ["--config", str(recipe), *_without_options(recipe, words)])
    out = Path(config.out or fresh(f"runs/{Path(arguments[0]).stem}"))
    own = recipe.parent == recipes.folder()
    _show(train(config, out, free_but_for=words if own else None))
    return None


def _without_options(recipe: Path, words: Sequence[str]) -> list[str]:
    """The words, which name data; a recipe's options are those of its own source."""
    own = str(read_yaml(recipe, "a recipe").get("data", "digits"))
    given = parsing.named("--data", words) or own
    other = given.partition(":")[0] != own.partition(":")[0]
    return [*(["--data-options", "{}"] if other else []), *words]


def _resume(arguments: list[str]) -> None:
    """Goes on with a stopped run: its settings are those of its config.yaml."""
    options = parsing.parser("train", "Go on with a stopped run.")
    options.add_argument("--resume", type=str, help="the run's folder")
    options.add_argument("--checkpoint", type=str, default="last", choices=["last", "previous"])
    options.add_argument("--data-root", type=str, default=None, help="folder looked in first")
    options.add_argument(
        "--any-threads", action="store_true", help="accept another number of threads"
    )
    options.add_argument(
        "--accept-changed-data", action="store_true", help="accept data of other content"
    )
    options.add_argument(
        "--any-ranks",
        action="store_true",
        help="accept another number of processes, whose batches make as many examples together",
    )
    options.add_argument("--batch-size", type=int, default=None, help="of each, with --any-ranks")
    given = parsing.parse(options, ["--resume", *arguments])
    if given.batch_size is not None and not given.any_ranks:
        raise UsageError("--batch-size of a run that goes on is only given with --any-ranks")
    folder = Path(given.resume)
    if not (folder / "config.yaml").is_file():
        raise UsageError(
            f"expected the folder of a stopped run after --resume, but {folder} has no config.yaml"
        )
    root = [] if given.data_root is None else ["--data-root", given.data_root]
    root += ["--fit.checkpoints.any_threads", "true"] * given.any_threads
    root += ["--fit.checkpoints.changed_data", "true"] * given.accept_changed_data
    if given.any_ranks:  # as many as torchrun started, or this one
        own = {"checkpoints.any_ranks": "true", "engine.devices": 1, "engine.nodes": 1}
        root += [word for name, value in own.items() for word in (f"--fit.{name}", str(value))]
        root += [] if given.batch_size is None else ["--fit.batch_size", str(given.batch_size)]
    config = parsing.parse(parser(), ["--config", str(recipes.find(given.resume)), *root])
    _show(train(config, folder, given.checkpoint))


def _show(run: Run) -> None:
    """Prints the summary, once however many ranks there are."""
    if rank() == 0:
        print(summary(run))


def parser() -> ArgumentParser:
    """Options for everything that a recipe holds."""
    result = parsing.parser("train RECIPE", _ABOUT)
    result.add_argument("--config", action="config", help="a YAML file, over the recipe's values")
    result.add_function_arguments(parts, "model", as_group=False)
    result.add_argument("--format", type=int, default=FORMAT, help=argparse.SUPPRESS)
    result.add_argument("--checksum", type=str, default="", help=argparse.SUPPRESS)
    result.add_argument("--data", type=str, default="digits", help="`narrows data` lists them")
    result.add_argument("--data-root", type=str, default=None, help="folder looked in first")
    result.add_argument(
        "--data-options", type=dict, default={}, help="arguments of the data set's own load"
    )
    result.add_argument("--out", type=str, default=None, help="run folder; default runs/...")
    skip: set[str | int] = {"model", "data", "out", "resume"}
    result.add_function_arguments(fit, "fit", as_group=False, skip=skip)
    return result


def parts(
    bottleneck: Bottleneck,
    network: Network | None = None,
    likelihood: Likelihood | None = None,
    beta: float = 1.0,
    objective: Objective | None = None,
) -> None:
    """The parts of an autoencoder.

    Args:
        bottleneck: the latent.
        network: encoder and decoder; by default Conv for images, Mlp for vectors.
        likelihood: of the data given the decoder's output; by default Normal.
        beta: weight of the rate.
        objective: what training minimises in place of the evidence bound.
    """


_SECTIONS = {"model": parts, "fit": fit}
"""What takes the arguments of each section of a recipe."""


def train(
    config: Namespace,
    out: Path,
    resume: bool | str = False,
    *,
    free_but_for: Sequence[str] | None = None,
) -> Run:
    """Builds and fits what a parsed configuration describes, and writes its page.

    Args:
        config: of `parser`.
        out: the run's folder.
        resume: as `fit` takes it.
        free_but_for: words of the command. What they do not name may give way to what suits the
            data: the network for images to another one, widths to those of the data. None: nothing.
    """
    import torch

    from narrows import data as sources
    from narrows.autoencoder import Autoencoder

    data = sources.load(config.data, root=config.data_root, **parsing.values(config.data_options))
    if free_but_for is not None:
        _fit_widths(config.model, data, free_but_for)
    torch.manual_seed(config.fit.seed)  # the initial weights
    made = parsing.instantiate(parser(), config)
    if _free_network(free_but_for) and not _suits(made.model.network, data):
        # Sequences [n, t, d] have their transformer, vectors the default.
        made.model.network = Transformer(patch=1) if len(data.shape) == 2 else None
    make = Autoencoder.for_own_units if data.own_units else Autoencoder
    model = make(data.shape, **vars(made.model))
    run = fit(model, data, out=out, resume=resume, **vars(made.fit))
    if rank() == 0:
        # Imported after the steps, which need no figures: matplotlib takes half a second.
        from narrows.compare.pages import run as page

        page.write_one(run, data, folder=out)
    return run


def _free_network(words: Sequence[str] | None) -> bool:
    return words is not None and not any(word.startswith("--model.network") for word in words)


def _fit_widths(model: Namespace, data: Dataset, words: Sequence[str]) -> None:
    """Gives a bottleneck without networks around it the width of the data, where words do not."""
    network, bottleneck = model.network, model.bottleneck
    if network is None:
        return
    around, known = class_at(network.class_path), class_at(bottleneck.class_path)
    if not (issubclass(around, Network) and issubclass(known, Bottleneck) and around.passes_on):
        return
    width = data.shape[-1] if data.own_units else math.prod(data.shape)
    given = vars(bottleneck.init_args)
    fitted = known.fitted(given, dim=width, inputs=data.inputs)
    named = {word.partition("=")[0].rpartition(".")[2] for word in words}
    given.update({name: value for name, value in fitted.items() if name not in named})
    if data.inputs and "inputs" in vars(network.init_args):
        network.init_args.inputs = data.inputs


def _suits(network: Network | None, data: Dataset) -> bool:
    """Whether a recipe's network takes examples of this shape."""
    if len(data.shape) == 2 and network is not None:
        return network.features_axis == data.train.features
    return len(data.shape) == 3 or (network is not None and network.takes_vectors)


_SHOWN: Sequence[tuple[str, str]] = (
    ("nmse", "NMSE (MSE over the training data's variance)"),
    ("psnr", "PSNR, dB"),
    ("snr", "SNR, dB (the training data's variance over MSE)"),
    ("lsd", "log-spectral distance, dB"),
    ("nll", "-log p(x | z), nats per example"),
    ("bits_per_example", "rate, bits per example"),
    ("bits_per_dimension", "rate, bits per dimension"),
    ("usage", "codes used, fraction"),
    ("perplexity", "perplexity of the codes"),
    ("l0", "active atoms per site"),
    ("active_units", "active units"),
)


def summary(run: Run) -> str:
    """The closing block: test figures with units, advice, next commands."""
    lines = ["", "test split"]
    lines += [f"  {run.test[key]:10.4g}  {label}" for key, label in _SHOWN if key in run.test]
    lines += [f"  note: {sentence}" for sentence in run.advice]
    lines += ["", f"written to {run.folder}, report: {run.folder}/report.html", "next:"]
    on = f"{run.folder}{trust_options(Path(run.folder or ''))}"
    if run.model.takes_images:
        lines += [f"  narrows sample {on}", f"  narrows interpolate {on}"]
    lines += [f"  narrows evaluate {on} --measures"]
    return "\n".join(lines)
