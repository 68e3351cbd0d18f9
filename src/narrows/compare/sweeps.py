"""What moves a recipe's rate: arguments in training, steps after it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from narrows.autoencoder import Autoencoder
from narrows.data.dataset import Dataset, Split
from narrows.priors.base import Prior
from narrows.training.evaluation import evaluate, latents

SIZE = ("16", "64", "256", "1024")
COUNT = ("1", "2", "4", "8")
BETA = ("0.1", "0.3", "1", "3")

_BY_BOTTLENECK: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "Identity": ("model.bottleneck.dim", COUNT),
    "Variational": ("model.beta", BETA),
    "SpikeAndSlab": ("model.beta", BETA),
    "Categorical": ("model.bottleneck.variables", COUNT),
    "VectorQuantizer": ("model.bottleneck.size", SIZE),
    "SimVQ": ("model.bottleneck.size", SIZE),
    "ResidualQuantizer": ("model.bottleneck.stages", COUNT),
    "FiniteScalarQuantizer": ("model.bottleneck.levels", ("[4,4]", "[8,8]", "[8,6,5]", "[8,8,16]")),
    "LookupFreeQuantizer": ("model.bottleneck.dim", ("4", "6", "8", "10")),
}
_BY_CODE: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "OMP": ("model.bottleneck.code.k", COUNT),
    "TopK": ("model.bottleneck.code.k", COUNT),
    "BatchTopK": ("model.bottleneck.code.k", COUNT),
    "Lasso": ("model.bottleneck.target_l0", COUNT),
}


def automatic(recipes: Mapping[str, Path]) -> dict[str, tuple[str, ...]]:
    """What moves the rate of each recipe, at four values: size, k, beta, width.

    Args:
        recipes: files by label.

    Returns:
        `LABEL:ARGUMENT` -> values; recipes whose latent has no such knob are left out.
    """
    found = {}
    for label, path in recipes.items():
        knob = _knob(yaml.safe_load(path.read_text())["model"]["bottleneck"])
        if knob is not None:
            found[f"{label}:{knob[0]}"] = knob[1]
    return found


def _knob(bottleneck: Mapping[str, Any]) -> tuple[str, tuple[str, ...]] | None:
    kind = bottleneck["class_path"].rpartition(".")[2]
    if kind == "SparseDictionary":
        arguments = bottleneck.get("init_args", {})
        if arguments.get("layout") == "image":
            return "model.bottleneck.code.k", ("6", "12", "24", "48")
        return _BY_CODE.get(arguments["code"]["class_path"].rpartition(".")[2])
    return _BY_BOTTLENECK.get(kind)


def with_step(model: Autoencoder, factor: float, train: Split) -> bool:
    """Rounds the model's code to `factor` times its step, and fits the prior anew.

    Args:
        model: changed in place.
        factor: 1 leaves the model as it is.
        train: what the prior is fitted to.

    Returns:
        Whether the model's code is rounded to a step at all.
    """
    prior = _with_step(model.prior, factor)
    if prior is None:
        return False
    if factor != 1:
        model.prior = prior.to(next(model.parameters()).device)
        model.prior.fit(latents(model, train))
    return True


def measured_at_steps(
    model: Autoencoder, data: Dataset, factors: Sequence[float]
) -> dict[float, dict[str, float]]:
    """Test figures of the model at each factor of its step but 1; empty if it has no step."""
    original, found = model.prior, {}
    for factor in factors:
        if factor != 1 and with_step(model, factor, data.train):
            found[factor] = evaluate(model, data.test, data.variance)
        model.prior = original
    return found


def _with_step(prior: Prior, factor: float) -> Prior | None:
    """The same kind of prior with another step, not yet fitted; None if it has none."""
    try:
        return prior.with_step(factor)
    except TypeError:
        return None
