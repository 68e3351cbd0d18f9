"""`narrows prior RUN --kind pixelcnn`: fits a prior to a run's codes."""

import dataclasses
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from narrows.autoencoder import Autoencoder
from narrows.cli import parsing, trained


def run(arguments: list[str]) -> None:
    """Fits, saves the model with its new prior under RUN/priors/KIND, prints bits per example."""
    from narrows.training.priors.kinds import KINDS, Settings, fit_kind

    kinds = "\n".join(
        f"{name:{max(map(len, KINDS))}}  {kind.about}" for name, kind in KINDS.items()
    )
    parser = parsing.parser(
        "prior", f"Fit a prior to the codes of a run's model. Kinds:\n\n{kinds}"
    )
    trained.add_options(parser)
    parser.add_argument(
        "--kind", type=str, required=True, choices=list(KINDS), metavar="KIND", help="as above"
    )
    parser.add_argument("--epochs", type=int, default=20, help="of pixelcnn, transformer, tokens")
    parser.add_argument("--width", type=int, default=64, help="features of these")
    parser.add_argument(
        "--conditional", type=bool, default=False, help="condition pixelcnn on the data's labels"
    )
    parser.add_argument("--step", type=float, default=None, help="quantisation step of values")
    parser.add_argument("--components", type=int, default=16, help="of mixture, support")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batch order")
    config = parsing.parse(parser, arguments)
    loaded, data = trained.load(config)
    model = loaded.model
    settings = Settings(
        epochs=config.epochs, width=config.width, components=config.components, step=config.step,
        conditional=config.conditional, seed=config.seed,
    )  # fmt: skip
    with _epochs_shown():
        prior = fit_kind(config.kind, model, data, settings)
    report = dataclasses.asdict(getattr(prior, "report"))  # noqa: B009 (set by the fit)
    model.prior = prior
    folder = model.save(Path(config.run) / "priors" / config.kind)
    (folder / "prior.json").write_text(json.dumps(report, indent=1) + "\n")
    print(
        f"{config.kind}: {report['test']:.4g} bits per example on the test split (validation "
        f"{report['validation']:.4g}; the run's own prior {report['default_test']:.4g})"
    )
    print("next:")
    print(f"  narrows sample {config.run} --prior {config.kind}")
    print(f"  narrows compress {config.run} IMAGE... --prior {config.kind}")


@contextmanager
def _epochs_shown() -> Iterator[None]:
    """Lets a fit that takes a while say on stderr how far it is."""
    logger, handler = logging.getLogger("narrows.training.priors"), logging.StreamHandler()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def load(run_folder: str, kind: str | None) -> Autoencoder:
    """A run's model, with one of its fitted priors if asked.

    Raises:
        FileNotFoundError: if that prior has not been fitted.
    """
    from narrows.training.run import Run

    if kind is None:
        return Run.load(run_folder).model
    folder = Path(run_folder) / "priors" / kind
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{run_folder} has no fitted prior {kind!r}; first: narrows prior {run_folder} "
            f"--kind {kind}"
        )
    return Autoencoder.load(folder)
