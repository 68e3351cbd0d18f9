"""What moves a recipe's rate: arguments in training, steps after it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from narrows.autoencoder import Autoencoder
from narrows.data.dataset import Dataset, Split
from narrows.priors.base import Prior
from narrows.recorded import build
from narrows.saving.writing import read_yaml
from narrows.training.evaluation import evaluate, latents


def automatic(recipes: Mapping[str, Path]) -> dict[str, tuple[str, ...]]:
    """What moves the rate of each recipe, at four values: see `Bottleneck.rate_argument`.

    Args:
        recipes: files by label.

    Returns:
        `LABEL:ARGUMENT` -> values; recipes whose bottleneck declares no such argument are left out.
    """
    found = {}
    for label, path in recipes.items():
        try:
            bottleneck = build(read_yaml(path, "")["model"]["bottleneck"])
        except (ValueError, TypeError, KeyError):
            continue  # its run says what is wrong
        argument = bottleneck.rate_argument
        if argument is not None:
            found[f"{label}:model.{argument.name}"] = argument.values
    return found


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
            found[factor] = evaluate(model, data.test, variance=data.variance)
        model.prior = original
    return found


def _with_step(prior: Prior, factor: float) -> Prior | None:
    """The same kind of prior with another step, not yet fitted; None if it has none."""
    try:
        return prior.with_step(factor)
    except TypeError:
        return None
