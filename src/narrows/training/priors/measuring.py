"""What codes of held-out examples cost under a prior.

Data come in as anything with `train`, `validation` and `test` splits (`narrows.data.Dataset`), so
that this layer need not know where data come from.
"""

import dataclasses
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from narrows.latent import Latent
from narrows.priors.base import Prior

AnyPrior = TypeVar("AnyPrior", bound=Prior)


class Examples(Protocol):
    """One split of a data set: `narrows.data.Split`."""

    def __len__(self) -> int: ...

    def batch(self, index: Tensor) -> Tensor:
        """The examples of these rows, float."""
        ...

    def batch_labels(self, index: Tensor) -> Tensor | None:
        """Their labels, if there are any."""
        ...


class Splits(Protocol):
    """A data set: `narrows.data.Dataset`."""

    @property
    def train(self) -> Examples: ...  # noqa: D102
    @property
    def validation(self) -> Examples: ...  # noqa: D102
    @property
    def test(self) -> Examples: ...  # noqa: D102


@dataclass(frozen=True)
class PriorFit:
    """What fitting a prior gave; bits per example.

    Attributes:
        validation: at the epoch that was kept.
        test: of the kept prior.
        default_test: of the prior that the model had, on the same codes; NaN if it had no rate.
        epoch: the epoch kept, from 1; 0 for priors fitted in one pass.
        seconds: wall clock of the fit, codes included.
    """

    validation: float
    test: float
    default_test: float
    epoch: int
    seconds: float


@torch.no_grad()
def latents(model: Any, split: Examples, batch_size: int = 256) -> Iterator[Latent]:
    """The eval latents of a split, batch by batch."""
    device, training = next(model.parameters()).device, model.training
    model.eval()
    try:
        for start in range(0, len(split), batch_size):
            rows = torch.arange(start, min(start + batch_size, len(split)))
            with torch.no_grad():
                latent = model.latent(split.batch(rows).to(device))
            yield latent
    finally:
        model.train(training)


@torch.no_grad()
def bits(prior: Prior, every: Any) -> float:
    """Mean rate of latents in bits per example, the codes quantised as the prior stores them.

    Raises:
        ValueError: if there are no latents.
    """
    total, count = 0.0, 0
    for latent in every:
        total += prior.rate(_stored(prior, latent)).double().sum().item()
        count += latent.batch
    if not count:
        raise ValueError("expected at least one example to measure the rate on, got none")
    return total / count / math.log(2)


def measured(prior: AnyPrior, model: Any, data: Splits, began: float | None = None) -> AnyPrior:
    """The prior as it is, with a `report` on how many bits the held-out codes take under it.

    Args:
        prior: fitted, or one with nothing to fit.
        model: an `Autoencoder`.
        data: its data set.
        began: when fitting began, by `time.perf_counter`.
    """
    began = time.perf_counter() if began is None else began
    validation, test = (
        bits(prior, latents(model, split)) for split in (data.validation, data.test)
    )
    return reported(prior, model, data, (validation, test, 0, began))


def reported(
    prior: AnyPrior, model: Any, data: Splits, figures: tuple[float, float, int, float]
) -> AnyPrior:
    """The prior with its `report`: of validation bits, test bits, epoch, and when it began."""
    validation, test, epoch, began = figures
    try:
        default = bits(model.prior, latents(model, data.test))
    except ValueError:
        default = math.nan
    seconds = time.perf_counter() - began
    report = PriorFit(validation, test, default, epoch, seconds)
    object.__setattr__(prior, "report", report)  # a plain attribute, not part of the state
    return prior


def labels_of(split: Examples) -> Tensor:
    """All labels of a split.

    Raises:
        ValueError: if there are none.
    """
    labels = split.batch_labels(torch.arange(len(split)))
    if labels is None:
        raise ValueError("a class-conditional prior needs labels, and these data have none")
    return labels


def _stored(prior: Prior, latent: Latent) -> Latent:
    return dataclasses.replace(latent, code=prior.quantize(latent.code))
