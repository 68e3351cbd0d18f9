"""Training as the claims do it: parts in, a finished run out, resumable in the trial's folder."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from narrows import data as sources
from narrows.autoencoder import Autoencoder, Objective
from narrows.bottlenecks.base import Bottleneck
from narrows.data.dataset import Dataset, Split
from narrows.likelihoods import Likelihood
from narrows.networks import Network
from narrows.training import Callback, Optimization, Run, fit
from reproductions import floor


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


@cache  # one data set, so that what is known of it is computed once
def binary(data: Dataset) -> Dataset:
    """The same images in black and white: 1 where a pixel is above 1/2."""

    def cut(split: Split) -> Split:
        return Split((whole(split) > 0.5).float(), split.labels, split.features)

    parts = {name: cut(getattr(data, name)) for name in ("train", "validation", "test")}
    return replace(data, name=f"{data.name}, black and white", **parts)


@dataclass(frozen=True)
class Setting:
    """What a trial trains on, for how long and from which seed, as its arguments name it.

    Attributes:
        data: name of the data set.
        train_examples: at most so many.
        test_examples: at most so many to validate and to test on.
        epochs: passes.
        seed: of weights, batch order and draws.
        batch_size: examples per step.
        learning_rate: at its peak.
    """

    data: str
    train_examples: int
    test_examples: int
    epochs: int
    seed: int
    batch_size: int = 64
    learning_rate: float = 2e-3

    def images(self, **options: Any) -> Dataset:
        """The data; options are of the source."""
        return subset(self.data, self.train_examples, self.test_examples, **options)


def train(  # noqa: PLR0913 (what a model and its training are)
    folder: Path,
    data: Dataset,
    bottleneck: Bottleneck,
    network: Network,
    setting: Setting,
    *,
    likelihood: Likelihood | None = None,
    optimization: Optimization | None = None,
    objective: Objective | None = None,
    callbacks: Sequence[Callback] = (),
    judged: bool = True,
) -> Run:
    """Trains on whatever device there is and returns the run with its model on the CPU.

    A run that was stopped in this folder goes on; a finished one is read. Weights are drawn
    from the seed too, so that models of equal shapes start from equal weights.

    Args:
        folder: of the trial, or one in it where a trial trains several models.
        data: what to train on.
        bottleneck: the latent.
        network: encoder and decoder.
        setting: passes, seed, batch size, learning rate.
        likelihood: default `Normal("optimal")`.
        optimization: in place of Adam with clipped gradients and a falling learning rate.
        objective: in place of the evidence bound.
        callbacks: of the training.
        judged: whether a verdict rests on the model, so that its floor is measured; False for
            one that is stopped early on purpose.
    """
    out = folder / "run"
    if (out / "metrics.json").is_file():
        return _standing(Run.load(out), data, judged)
    if out.exists() and not any((out / "checkpoints").glob("*")):
        shutil.rmtree(out)  # stopped before its first checkpoint; named by the trial's own hash
    torch.manual_seed(setting.seed)
    model = Autoencoder(
        data.shape, bottleneck, network=network, likelihood=likelihood, objective=objective
    )
    usual = Optimization(learning_rate=setting.learning_rate, clip=1.0)
    run = fit(
        model, data, epochs=setting.epochs, batch_size=setting.batch_size, seed=setting.seed,
        out=out, resume=True, optimization=optimization or usual, callbacks=callbacks,
        show=False,
    )  # fmt: skip
    run.model.to("cpu").eval()
    return _standing(run, data, judged)


def _standing(run: Run, data: Dataset, judged: bool) -> Run:
    """The run, its floor beside it."""
    assert run.folder is not None
    if judged and not (run.folder / floor.FILE).is_file():
        again = copies(run.model, whole(data.test.head(1000)))
        floor.write(run.folder, floor.measure(run, data, again))
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
