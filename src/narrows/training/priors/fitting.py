"""Fitting a prior to the codes of a trained model.

The prior learns from the codes of the training split. A prior that is trained by gradient keeps
the epoch that is best on the validation split. The test split is measured once, at the end.
"""

import copy
import dataclasses
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch

from narrows.autoencoder import Autoencoder
from narrows.codes import concatenate, length, rows
from narrows.data.dataset import Dataset, Split
from narrows.functional.ranks import from_all_ranks, rank, ranks
from narrows.latent import Latent
from narrows.priors.base import Prior
from narrows.tasks.shown import examples
from narrows.training.evaluation import all_latents, latents
from narrows.training.priors.recipe import EPOCHS, PriorRecipe, find_recipe, labels_of
from narrows.training.seeding import mix
from narrows.training.sharding import average_gradients

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PriorFit:
    """What fitting a prior gave; bits per example.

    Attributes:
        validation: mean rate of the validation codes under the prior that was kept.
        test: the same of the test codes.
        default_test: mean rate of the test codes under the model's own prior; NaN if it has none.
        epoch: the epoch that was kept, from 1; 0 for a prior fitted in one pass.
        seconds: wall-clock time, with that of computing the codes.
    """

    validation: float
    test: float
    default_test: float
    epoch: int
    seconds: float


@dataclass(frozen=True, eq=False)
class FittedPrior:
    """A prior, and the report on its fit.

    Attributes:
        prior: in eval. It is not the model's yet: `model.prior = fitted.prior`.
        report: its bits on held-out codes.
    """

    prior: Prior
    report: PriorFit


def fit_prior(
    model: Autoencoder,
    data: Dataset,
    *,
    prior: Prior | PriorRecipe | str,
    epochs: int | None = None,
    batch_size: int = 64,
    learning_rate: float | None = None,
    seed: int = 0,
) -> FittedPrior:
    """Fits a prior to the codes of a model: in one pass, or by gradient on its rate.

    A class of priors says which by its attribute `learning_rate`. Training by gradient is AdamW
    with a short warm-up and a cosine to zero; the logger of this module says at level INFO what
    each epoch reached. Several ranks share the work and end with the same prior: each computes its
    share of the codes and takes its rows of every batch.

    Args:
        model: a trained model.
        data: its data set.
        prior: a prior for codes of this model, a recipe of one, or what `find_recipe` takes: the
            name of a recipe, a YAML file, a class path.
        epochs: passes over the training codes, of a prior trained by gradient; None takes the
            recipe's, or 20.
        batch_size: codes per step.
        learning_rate: at its peak; None takes the prior's own.
        seed: of batch order and draws, and of initial weights where a recipe makes the prior; the
            caller's random numbers are left alone.

    Raises:
        TypeError: if the prior does not suit the model's codes.
        ValueError: if a number is out of range, or a prior that is conditional on classes meets
            data without labels.

    Example:
        >>> import narrows as nw
        >>> data = nw.data.load("digits")
        >>> model = nw.Autoencoder.for_images(data.shape, nw.bottlenecks.VectorQuantizer(16, 8))
        >>> fitted = fit_prior(model, data, prior="uniform")
        >>> round(fitted.report.test)  # 2 x 2 sites of 4 bits
        16
    """
    began, device = time.perf_counter(), next(model.parameters()).device
    recipe = find_recipe(prior) if isinstance(prior, str) else prior
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        if isinstance(recipe, Prior):
            recipe.check_fits(model.bottleneck.codes, model.prior.sites)
            made = recipe.to(device)
        else:
            epochs = recipe.epochs if epochs is None else epochs
            made = recipe.make(model, data, seed=seed).to(device)
        epoch = 0
        if made.learning_rate is None:
            made.fit(latents_under(model, data.train, prior=made))
        else:
            peak = made.learning_rate if learning_rate is None else learning_rate
            budget = {"epochs": EPOCHS if epochs is None else epochs, "batch_size": batch_size}
            if rank() > 0:
                torch.manual_seed(mix(seed + rank()) >> 1)  # ranks draw for different rows
            epoch = _train(made, model, data, **budget, learning_rate=peak, seed=seed)
        made.eval()
        bits = _held_out(made, model, data)
    seconds = time.perf_counter() - began
    return FittedPrior(made, PriorFit(*bits, epoch, seconds))


def _held_out(prior: Prior, model: Autoencoder, data: Dataset) -> tuple[float, float, float]:
    """Bits of the validation and test codes, and of the test codes under the model's own prior."""
    validation, test = (
        mean_bits(prior, latents_under(model, part, prior=prior, shared=True), shared=True)
        for part in (data.validation, data.test)
    )
    try:
        own = mean_bits(model.prior, latents(model, data.test, shared=True), shared=True)
    except ValueError:
        own = math.nan
    return validation, test, own


def latents_under(
    model: Autoencoder, split: Split, *, prior: Prior, shared: bool = False
) -> Iterator[Latent]:
    """The eval latents of a split as the prior is to rate them: all, or this rank's share.

    Only a prior that prices draws is given the posterior; the others rate the code that is stored.
    """
    for latent in latents(model, split, shared=True) if shared else all_latents(model, split):
        yield latent if prior.prices_draws else dataclasses.replace(latent, posterior=None)


@torch.no_grad()
def mean_bits(prior: Prior, every: Iterable[Latent], *, shared: bool = False) -> float:
    """Mean rate of latents in bits per example, the codes quantised as the prior stores them.

    Args:
        prior: that rates them.
        every: the latents.
        shared: each rank has its share of them, and all get the mean of all.

    Raises:
        ValueError: if there are no latents.
    """
    total, count, problem = 0.0, 0, None
    try:
        for latent in every:
            stored = dataclasses.replace(latent, code=prior.quantize(latent.code))
            total += prior.rate(stored).double().sum().item()
            count += latent.batch
    except ValueError as error:  # a rank without a batch does not meet it
        problem = error
    found = (total, count, problem)
    totals, counts, problems = zip(*(from_all_ranks(found) if shared else [found]), strict=True)
    if any(problems):
        raise next(filter(None, problems))
    total, count = sum(totals), sum(counts)
    if not count:
        raise ValueError("expected at least one example to measure the rate on, got none")
    return total / count / math.log(2)


def _train(
    prior: Prior,
    model: Autoencoder,
    data: Dataset,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
) -> int:
    """Trains a prior; leaves it at the epoch that is best on validation, and returns that epoch."""
    if epochs < 1 or batch_size < 1:
        raise ValueError(
            f"expected epochs and batch_size of at least 1, got {epochs} and {batch_size}"
        )
    device = next(prior.parameters()).device
    codes = concatenate([prior.quantize(latent.code) for latent in all_latents(model, data.train)])
    labels = labels_of(data.train).to(device) if prior.classes else None
    held_out = [*latents_under(model, data.validation, prior=prior, shared=True)]
    n, order = length(codes), torch.Generator().manual_seed(seed)
    optimizer, schedule = _optimizer(prior, learning_rate, steps=epochs * math.ceil(n / batch_size))
    best, kept, state = math.inf, 0, copy.deepcopy(prior.state_dict())
    for epoch in range(1, epochs + 1):
        prior.train()
        for index in torch.randperm(n, generator=order).split(batch_size):
            optimizer.zero_grad(set_to_none=True)
            mine = index[rank() :: ranks()]
            if len(mine):
                nats = prior.loss(rows(codes, mine), None if labels is None else labels[mine])
                (nats.sum() * (ranks() / len(index))).backward()
            average_gradients(prior)
            examples(len(mine))
            torch.nn.utils.clip_grad_norm_(prior.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        reached = mean_bits(prior.eval(), held_out, shared=True)
        _log.info("epoch %d/%d: %.4g bits per example on validation", epoch, epochs, reached)
        if reached < best:
            best, kept, state = reached, epoch, copy.deepcopy(prior.state_dict())
    prior.load_state_dict(state)
    return kept


def _optimizer(
    prior: Prior, learning_rate: float, *, steps: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]:
    # Weight decay also keeps weights small enough for exact (fixed-point) evaluation.
    optimizer = torch.optim.AdamW(
        prior.parameters(), learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, _warm_cosine(steps))


def _warm_cosine(total: int) -> Callable[[int], float]:
    """Factor of the learning rate by step: a warm-up over a twentieth, then a cosine to zero."""
    warm = max(1, total // 20)
    return lambda step: min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / total))
