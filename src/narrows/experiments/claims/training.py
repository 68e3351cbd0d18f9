"""Training as the claims do it: parts in, a finished run out, resumable in the trial's folder."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from narrows import data as sources
from narrows.autoencoder import Autoencoder, Objective
from narrows.bottlenecks.base import Bottleneck
from narrows.data.base import Dataset, Split
from narrows.likelihoods import Likelihood, Normal
from narrows.networks import Network
from narrows.training import Callback, Optimization, Run, fit

LEARNING_RATE = 2e-3


@cache  # a worker sees the same few data sets again and again
def subset(name: str, train: int, test: int, **options: Any) -> Dataset:
    """The first examples of a data set: `train` for training, `test` each of the held-out splits.

    Args:
        name: as `narrows.data.load` takes it.
        train: at most so many training examples.
        test: at most so many validation and test examples.
        options: of the source.
    """
    data = sources.load(name, **options)
    return replace(
        data,
        train=data.train.head(train),
        validation=data.validation.head(test),
        test=data.test.head(test),
    )


def train(  # noqa: PLR0913 (what a model and its training are; all but four have defaults)
    folder: Path,
    data: Dataset,
    bottleneck: Bottleneck,
    network: Network,
    *,
    epochs: int,
    seed: int,
    likelihood: Likelihood | None = None,
    beta: float = 1.0,
    learning_rate: float = LEARNING_RATE,
    batch_size: int = 64,
    optimization: Optimization | None = None,
    callbacks: Sequence[Callback] = (),
    objective: Objective | None = None,
    name: str = "run",
) -> Run:
    """Trains on whatever device there is and returns the run with its model on the CPU.

    A run that was stopped in this folder goes on; a finished one is read. Weights are drawn
    from the seed too, so that models of equal shapes start from equal weights.

    Args:
        folder: of the trial.
        data: what to train on.
        bottleneck: the latent.
        network: encoder and decoder.
        epochs: passes.
        seed: of weights, batch order and draws.
        likelihood: default `Normal("optimal")`.
        beta: weight of the rate.
        learning_rate: at its peak.
        batch_size: examples per step.
        optimization: takes the place of the learning rate where a document's own is needed.
        callbacks: schedules of beta and the like.
        objective: in place of the evidence bound.
        name: of the run's folder, where a trial trains several models.
    """
    out = folder / name
    if (out / "metrics.json").is_file():
        return Run.load(out)
    if out.exists() and not any((out / "checkpoints").glob("*")):
        shutil.rmtree(out)  # stopped before its first checkpoint; named by the trial's own hash
    torch.manual_seed(seed)
    shape = data.shape
    model = Autoencoder(shape, network, bottleneck, likelihood or Normal(), beta, objective)
    run = fit(
        model, data, epochs=epochs, batch_size=batch_size, seed=seed, out=out, resume=True,
        optimization=optimization or Optimization(learning_rate=learning_rate, clip=1.0),
        callbacks=callbacks, show=False,
    )  # fmt: skip
    run.model.to("cpu").eval()
    return run


@torch.no_grad()
def codes(model: Autoencoder, x: Tensor) -> Tensor:
    """What the decoder is given without noise, `[n, *sites, dim]`."""
    return torch.cat([model.latent(batch).z for batch in x.split(512)])


@torch.no_grad()
def copies(model: Autoencoder, x: Tensor) -> Tensor:
    """Reconstructions from such codes: nothing drawn, nothing rounded."""
    return torch.cat([decoded(model, codes(model, batch)) for batch in x.split(512)])


@torch.no_grad()
def decoded(model: Autoencoder, z: Tensor) -> Tensor:
    """Mean images of decoder inputs."""
    return model.likelihood.mean(model.decoder(z))


def whole(split: Split) -> Tensor:
    """All examples of a split, float."""
    return split.batch(torch.arange(len(split)))


def labels(split: Split) -> Tensor:
    """All labels of a split.

    Raises:
        ValueError: if it has none.
    """
    if split.labels is None:
        raise ValueError("this claim needs labels, which these data have not")
    return split.labels
