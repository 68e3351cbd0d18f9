"""Training: one loop for every bottleneck, on Lightning Fabric."""

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from narrows.autoencoder import Autoencoder, Loss
from narrows.data.base import Dataset, Split
from narrows.data.batching import batches, share, steps_per_epoch
from narrows.recorded import spec
from narrows.training.callback import Callback
from narrows.training.engine import Engine
from narrows.training.evaluation import evaluate, latents
from narrows.training.optimization import Optimization
from narrows.training.progress import Progress
from narrows.training.run import Run, claim_folder, environment, write_json, write_text, write_yaml


class NonFiniteLossError(RuntimeError):
    """Training met a loss that is NaN or infinite."""


def fit(  # noqa: PLR0913 (the package's one verb; everything after `data` has a default)
    model: Autoencoder,
    data: Dataset,
    *,
    epochs: int = 20,
    batch_size: int = 64,
    optimization: Optimization | None = None,
    engine: Engine | None = None,
    callbacks: Sequence[Callback] = (),
    seed: int = 0,
    out: str | Path | None = None,
    show: bool = True,
) -> Run:
    """Trains a model on a data set, evaluates it, and writes a run folder if asked.

    One optimiser step minimises the mean `Autoencoder.loss` of a batch, then calls
    `bottleneck.update` and `likelihood.update` once with what the step saw. After the last
    epoch the prior is fitted to the training codes. The test split is touched once, at the end.

    Args:
        model: trained in place.
        data: the three splits; examples of `model.shape`.
        epochs: passes over the training split.
        batch_size: examples per rank and micro-batch.
        optimization: learning rate and what belongs to it.
        engine: devices, ranks, precision.
        callbacks: further hooks.
        seed: of the batch order and of all random numbers drawn in training. The model's
            initial weights were drawn when it was made: seed before that too.
        out: folder to write; None writes nothing.
        show: a live line of figures.

    Returns:
        The finished run.

    Raises:
        ValueError: if data and model do not fit, or a number is out of range.
        FileExistsError: if `out` holds something already.
        NonFiniteLossError: with the step, the term and the likely cause.

    Example:
        >>> import narrows as nw
        >>> data = nw.data.load("digits")
        >>> model = nw.Autoencoder.for_images(data.shape, nw.bottlenecks.Identity(2))
        >>> run = nw.fit(model, data, epochs=1, show=False)
        >>> 0 < run.test["nmse"] < 2
        True
    """
    optimization, engine = optimization or Optimization(), engine or Engine()
    _check(model, data, epochs, batch_size)
    folder = claim_folder(out) if out is not None else None
    fabric = engine.fabric()
    fabric.seed_everything(seed, verbose=False)
    if folder is not None:
        arguments = {
            "epochs": epochs,
            "batch_size": batch_size,
            "optimization": spec(optimization),
            "engine": spec(engine),
            "callbacks": spec(list(callbacks)),
            "seed": seed,
        }
        write_yaml(folder / "config.yaml", _config(model, data, arguments))
        write_json(folder / "environment.json", environment())
    loop = _Loop(fabric, model, data.train, optimization, engine, batch_size, seed)
    history = _epochs(loop, data, epochs, callbacks, folder, show)
    return _finish(model, data, history, folder)


def _epochs(
    loop: "_Loop",
    data: Dataset,
    epochs: int,
    callbacks: Sequence[Callback],
    folder: Path | None,
    show: bool,
) -> list[dict[str, float]]:
    """Runs all epochs; returns and writes one row for each."""
    history: list[dict[str, float]] = []
    steps = epochs * loop.steps_per_epoch
    with Progress(epochs, show=show and loop.fabric.is_global_zero) as progress:
        for epoch in range(epochs):
            began = time.perf_counter()
            row = loop.epoch(epoch, steps, callbacks)
            row["examples_per_second"] = row.pop("examples") / (time.perf_counter() - began)
            held_out = evaluate(loop.model, data.validation, data.variance)
            row |= {f"validation_{name}": value for name, value in held_out.items()}
            history.append({"epoch": epoch + 1, **row})
            if folder is not None:
                lines = "".join(f"{json.dumps(line)}\n" for line in history)
                write_text(folder / "metrics.jsonl", lines)
            progress.epoch(history[-1])
            if any([callback.after_epoch(loop.model, history[-1]) for callback in callbacks]):
                break
    return history


class _Loop:
    """One epoch of optimiser steps; what the loop needs between steps."""

    def __init__(
        self,
        fabric: Fabric,
        model: Autoencoder,
        train: Split,
        optimization: Optimization,
        engine: Engine,
        batch_size: int,
        seed: int,
    ) -> None:
        self.fabric, self.optimization, self.accumulate = fabric, optimization, engine.accumulate
        self.batch_size, self.seed = batch_size, seed
        self.train = train.to(fabric.device)
        if engine.channels_last and len(model.shape) == 3:
            model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.model = model
        if engine.compile:
            model.encoder.compile()
            model.decoder.compile()
        self.wrapped, self.optimizer = fabric.setup(model, optimization.optimizer(model))
        self.wrapped.mark_forward_method("loss")
        self.global_batch = fabric.world_size * batch_size * self.accumulate
        self.steps_per_epoch = steps_per_epoch(len(train), self.global_batch)

    def epoch(self, epoch: int, steps: int, callbacks: Sequence[Callback]) -> dict[str, float]:
        """Trains one epoch; returns means over its examples, in nats."""
        self.model.train()
        sums: dict[str, Tensor] = {}
        examples = 0
        for step, micro_batches in enumerate(self._steps(epoch)):
            number = epoch * self.steps_per_epoch + step
            for callback in callbacks:
                callback.before_step(self.model, number / steps)
            rate = self.optimization.set_rate(self.optimizer, number / steps)
            losses = self._step(micro_batches, number, rate)
            for callback in callbacks:
                callback.after_step(self.model, losses[-1])
            for loss in losses:
                examples += loss.latent.batch
                for name, value in _figures(loss).items():
                    sums[name] = sums[name] + value if name in sums else value
        return {name: value.item() / examples for name, value in sums.items()} | {
            "examples": float(examples),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
        }

    def _steps(self, epoch: int) -> Iterator[list[Tensor]]:
        """The micro-batches' row numbers, step by step, of this rank."""
        rank, world = self.fabric.global_rank, self.fabric.world_size
        for index in batches(len(self.train), self.global_batch, self.seed, epoch):
            yield list(share(index, rank, world).split(self.batch_size))

    def _step(self, micro_batches: list[Tensor], step: int, rate: float) -> list[Loss]:
        """One optimiser step and the running updates that follow it."""
        losses: list[Loss] = []
        for index in micro_batches:
            last = len(losses) == len(micro_batches) - 1
            with self.fabric.no_backward_sync(self.wrapped, enabled=not last):
                x = self.train.batch(index)
                loss: Loss = self.wrapped.loss(x)
                if not bool(loss.total.isfinite()):
                    raise NonFiniteLossError(_diagnosis(loss, step, rate))
                self.fabric.backward(loss.total / len(micro_batches))
            losses.append(_detached(loss))
        if self.optimization.clip is not None:
            self.fabric.clip_gradients(
                self.wrapped, self.optimizer, max_norm=self.optimization.clip
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.model.bottleneck.update([loss.latent for loss in losses])
        for index, loss in zip(micro_batches, losses, strict=True):
            self.model.likelihood.update(self.train.batch(index), loss.output)
        return losses


def _finish(
    model: Autoencoder, data: Dataset, history: list[dict[str, float]], folder: Path | None
) -> Run:
    """Fits the prior to training codes, evaluates, writes."""
    model.eval()
    model.prior.fit(latents(model, data.train))
    validation = evaluate(model, data.validation, data.variance)
    test = evaluate(model, data.test, data.variance)
    advice = model.bottleneck.advice(test)
    if folder is not None:
        model.save(folder)
        figures = {
            "data": data.name,
            "examples": {
                part: len(getattr(data, part)) for part in ("train", "validation", "test")
            },
            "units": UNITS,
            "validation": validation,
            "test": test,
            "advice": advice,
        }
        write_json(folder / "metrics.json", figures)
    return Run(model, validation, test, history, data.name, folder, advice)


UNITS: Mapping[str, str] = {
    "mse": "squared error per value, values in [0, 1]",
    "nmse": "mse over the variance of all training values",
    "psnr": "dB, peak 1",
    "nll": "nats per example",
    "loss": "nats per example",
    "bits_per_example": "bits",
    "bits_per_dimension": "bits per value of the example",
}


def _config(model: Autoencoder, data: Dataset, arguments: dict[str, Any]) -> dict[str, Any]:
    """What a recipe holds, so that the run can be repeated from it."""
    return {
        "model": {
            "network": spec(model.network),
            "bottleneck": spec(model.bottleneck),
            "likelihood": spec(model.likelihood),
            "beta": float(model.beta),
            "objective": spec(model.objective),
        },
        "data": data.name,
        "fit": arguments,
    }


def _check(model: Autoencoder, data: Dataset, epochs: int, batch_size: int) -> None:
    if tuple(data.shape) != model.shape:
        raise ValueError(
            f"the model was built for examples of shape {model.shape}, {data.name} has "
            f"{tuple(data.shape)}; build it with the data's shape: for_images(data.shape, ...)"
        )
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def _figures(loss: Loss) -> dict[str, Tensor]:
    """Sums over the batch, in nats, left on the device."""
    figures = {"loss": loss.total * loss.latent.batch, "nll": loss.nll.sum()}
    if loss.rate is not None:
        figures["rate"] = loss.rate.sum()
    return figures | {name: value.sum() for name, value in loss.terms.items()}


def _detached(loss: Loss) -> Loss:
    """The loss without its graph, so that a step's graphs are freed one by one."""
    latent = dataclasses.replace(
        loss.latent,
        z=loss.latent.z.detach(),
        terms={name: value.detach() for name, value in loss.latent.terms.items()},
        posterior=None,
        log_q=None,
    )
    return Loss(
        total=loss.total.detach(),
        nll=loss.nll.detach(),
        rate=None if loss.rate is None else loss.rate.detach(),
        terms=latent.terms,
        latent=latent,
        output=loss.output.detach(),
    )


def _diagnosis(loss: Loss, step: int, rate: float) -> str:
    """Which part of the loss is not finite, and what to try."""
    parts: dict[str, Tensor | None] = {"nll": loss.nll, "rate": loss.rate, **loss.terms}
    bad = [n for n, v in parts.items() if v is not None and not bool(v.isfinite().all())]
    return (
        f"the loss is not finite at optimiser step {step} (part: {', '.join(bad) or 'total'}; "
        f"learning rate {rate:.3g}); the likely cause is too high a learning rate: try a third "
        "of it, or set optimization.clip to 1.0"
    )
