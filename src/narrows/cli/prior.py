"""`narrows prior RUN --kind pixelcnn`: fits a prior to a run's codes."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from narrows.autoencoder import Autoencoder
from narrows.cli import parsing
from narrows.priors import Prior

KINDS = {
    "histogram": "how often each index is used (VQ and its like)",
    "pixelcnn": "gated PixelCNN over a map of indices",
    "transformer": "autoregressive transformer over indices",
    "quantized": "grid and histogram of each feature (plain codes, variational means)",
    "mixture": "Gaussian mixture of continuous codes; the aggregate posterior of random ones",
    "factorial": "which atoms, and how much of each (sparse codes)",
    "support": "mixture of supports, then values (sparse codes)",
    "tokens": "transformer over atoms and values (sparse codes)",
}


def run(arguments: list[str]) -> None:
    """Fits, saves the model with its new prior under RUN/priors/KIND, prints bits per example."""
    from narrows import data as sources
    from narrows.training.run import Run

    kinds = "; ".join(f"{name}: {text}" for name, text in KINDS.items())
    parser = parsing.parser("prior", f"Fit a prior to the codes of a run's model. Kinds: {kinds}.")
    parser.add_argument("run", type=str, help="a run's folder")
    parser.add_argument("--kind", type=str, required=True, choices=list(KINDS))
    parser.add_argument("--data", type=str, default=None, help="default: the run's own")
    parser.add_argument("--data-root", type=str, default=None, help="folder looked in first")
    parser.add_argument("--epochs", type=int, default=20, help="of pixelcnn, transformer, tokens")
    parser.add_argument("--width", type=int, default=64, help="features of these")
    parser.add_argument(
        "--conditional", type=bool, default=False, help="condition pixelcnn on the data's labels"
    )
    parser.add_argument("--step", type=float, default=None, help="quantisation step of values")
    parser.add_argument("--components", type=int, default=16, help="of mixture, support")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batch order")
    config = parsing.parse(parser, arguments)
    loaded = Run.load(config.run)
    data = sources.load(config.data or loaded.data, root=config.data_root)
    model = loaded.model
    prior = fit(model, data, config)
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


def fit(model: Autoencoder, data: Any, config: Any) -> Prior:
    """The fitted prior of a parsed configuration.

    Raises:
        ValueError: if the kind does not suit the model's codes.
    """
    from narrows import priors

    learned = {"epochs": config.epochs, "seed": config.seed}
    if config.kind == "pixelcnn":
        conditional = {"conditional": config.conditional}
        return priors.fit_pixelcnn(model, data, width=config.width, **conditional, **learned)
    if config.conditional:
        raise ValueError("--conditional is for --kind pixelcnn; the others know no classes")
    if config.kind == "transformer":
        return priors.fit_transformer(model, data, width=config.width, **learned)
    if config.kind == "tokens":
        step = config.step or 0.5
        return priors.fit_sparse(model, data, step=step, features=config.width, **learned)
    return priors.fit_in_one_pass(_closed(model, data, config), model, data)


def _closed(model: Autoencoder, data: Any, config: Any) -> Prior:
    """An unfitted prior of the kinds that need no gradient."""
    from narrows import priors

    code = next(priors.latents(model, data.train, 2)).code
    sites = model.prior.sites
    first = code[0] if isinstance(code, tuple) else code
    wanted = {"histogram": "indices", "quantized": "values", "mixture": "values"}
    kind = "atoms" if isinstance(code, tuple) else "indices"
    if not isinstance(code, tuple) and code.is_floating_point():
        kind = "values"
    if wanted.get(config.kind, "atoms") != kind:
        raise ValueError(f"--kind {config.kind} does not suit this run: its codes are {kind}")
    if config.kind == "quantized":
        zeros = isinstance(model.prior, priors.SpikeAndSlabPrior)  # stay exact, and cheap
        return priors.QuantizedHistogram(sites, first.shape[-1], config.step, keep_zeros=zeros)
    if config.kind == "mixture":
        return priors.GaussianMixture(sites, first.shape[-1], config.components, config.step)
    size = int(getattr(model.prior, "size"))  # noqa: B009 (of every prior over indices or atoms)
    if config.kind == "histogram":
        groups = first.shape[-1] if first.dim() > len(sites) + 1 else None
        return priors.CategoricalPrior(size, sites, groups)
    if config.kind == "factorial":
        return priors.SparseFactorial(sites, size, config.step or 0.5)
    return priors.SparsePrior(sites, size, config.step or 0.5, config.components)


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
