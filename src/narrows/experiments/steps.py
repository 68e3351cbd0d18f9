"""One trained model at several rates: its code rounded to other steps."""

from collections.abc import Sequence

from narrows.autoencoder import Autoencoder
from narrows.data.base import Dataset, Split
from narrows.priors.base import Prior
from narrows.priors.quantized import QuantizedHistogram
from narrows.priors.sparse import SparseFactorial
from narrows.recorded import build, spec
from narrows.training.evaluation import evaluate, latents


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
    if not isinstance(prior, (QuantizedHistogram, SparseFactorial)):
        return None
    description = spec(prior)
    arguments = description["init_args"]
    for name in ("step", "fraction"):
        if arguments.get(name) is not None:
            arguments[name] = arguments[name] * factor
    return build(description)
