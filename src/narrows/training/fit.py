"""Training: one loop for every bottleneck, on Lightning Fabric."""

import contextlib
import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.data.arrays import from_array
from narrows.data.dataset import Array, Dataset
from narrows.functional.examples import refuse_range
from narrows.recorded import FORMAT, plain_numbers, spec
from narrows.saving.arguments import check_arguments
from narrows.saving.trust import trust_options
from narrows.saving.writing import (
    FolderInUseError,
    read_yaml,
    sole_writer,
    write_json,
    write_text,
    write_yaml,
)
from narrows.training.callbacks.base import Callback
from narrows.training.checkpoint_writer import Checkpoints, CheckpointWriter, changes
from narrows.training.engine import Engine
from narrows.training.evaluation import evaluate, latents, quality_advice
from narrows.training.loop import Loop, NonFiniteLossError
from narrows.training.optimization import Optimization
from narrows.training.pack import State
from narrows.training.progress import Interruption, Progress, TrainingInterruptedError
from narrows.training.rate import Rate
from narrows.training.run import Run, claim_folder, environment
from narrows.training.seeding import seed_step

__all__ = ["NonFiniteLossError", "TrainingInterruptedError", "fit"]


def fit(  # noqa: PLR0913 (the package's one verb; everything after `data` has a default)
    model: Autoencoder,
    data: "Dataset | Tensor | Array",
    *,
    epochs: int = 20,
    batch_size: int = 64,
    optimization: Optimization | None = None,
    rate: Rate | None = None,
    engine: Engine | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoints: Checkpoints | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool | str = False,
    show: bool = True,
) -> Run:
    """Trains a model on a data set, evaluates it, and writes a run folder if asked.

    One optimiser step minimises the mean `Autoencoder.loss` of a batch, then calls
    `Autoencoder.update` once with what the step saw. After the last epoch the prior is fitted to
    the training codes. The test split is touched once, at the end.

    A run that was stopped, however, goes on with `resume=True` and the same arguments, and ends
    with the weights that it would have had: bit for bit on a CPU with as many threads.

    Args:
        model: trained in place.
        data: the three splits; examples of `model.shape`; or all of them, for `from_array`.
        epochs: passes over the training split.
        batch_size: examples per rank and micro-batch.
        optimization: learning rate and what belongs to it.
        rate: the bits that codes are to end at; None leaves beta as it is.
        engine: devices, ranks, precision.
        callbacks: further hooks.
        checkpoints: when the run's state is written to `out`, and which epoch is best.
        seed: of the batch order and of all random numbers drawn in training. The model's
            initial weights were drawn when it was made: seed before that too.
        out: folder to write; None writes nothing.
        resume: go on with the run in `out` from its last checkpoint (or the one named: "last",
            "previous"); a run that has none yet starts.
        show: a live line of figures.

    Returns:
        The finished run.

    Raises:
        ValueError: if data and model do not fit, a number is out of range, or a run cannot be
            resumed: it is finished, had other settings, or its checkpoint is damaged.
        FileExistsError: if `out` holds something already and is not to be resumed.
        FolderInUseError: if another process writes into `out`.
        RateUnreachableError: if the model does not reach the rate, with the nearest that it does.
        NonFiniteLossError: with the step, the term and the likely cause.
        TrainingInterruptedError: a KeyboardInterrupt, after Ctrl-C or SIGTERM; the step was
            finished and the state saved.

    Example:
        >>> import narrows as nw
        >>> data = nw.data.load("digits")
        >>> model = nw.Autoencoder.for_images(data.shape, nw.bottlenecks.Identity(2))
        >>> run = nw.fit(model, data, epochs=1, show=False)
        >>> 0 < run.test["nmse"] < 2
        True
    """
    optimization, checkpoints = optimization or Optimization(), checkpoints or Checkpoints()
    epochs, batch_size, seed = plain_numbers((epochs, batch_size, seed))
    data = _checked(model, data, given=locals())
    engine = _settled(engine or Engine(), model, data, batch_size, out if resume else None)
    config = _config(model, data, spec({
        "epochs": epochs, "batch_size": batch_size, "optimization": optimization, "rate": rate,
        "engine": engine, "callbacks": list(callbacks), "checkpoints": checkpoints, "seed": seed,
    }))  # fmt: skip
    if rate is not None:
        rate.prepare(model)
    fabric = engine.fabric()
    fabric.seed_everything(seed, verbose=False)
    with contextlib.ExitStack() as held:
        folder = _open(fabric, out, config, bool(resume), held)
        loop = Loop(
            fabric, model, train=data.train, optimization=optimization, engine=engine,
            batch_size=batch_size, seed=seed,
        )  # fmt: skip
        together, first = fabric.broadcast if engine.sharded else None, fabric.is_global_zero
        training = _Training(loop, data, epochs, callbacks, rate, folder if first else None)
        writer = CheckpointWriter(folder, checkpoints, training.state, first, together)
        training.begin(writer, config, resume)
        training.run(writer, show=show and first)
        return _finish(training, folder)


def _settled(
    engine: Engine, model: Autoencoder, data: Dataset, batch_size: int, out: str | Path | None
) -> Engine:
    """The engine with what is "auto" decided: as the run in `out` did, or by a few steps."""
    if "auto" not in (engine.precision, engine.channels_last):
        return engine
    path = None if out is None else Path(out) / "config.yaml"
    if path is not None and path.is_file():
        kept = read_yaml(path, "it is not resumed")["fit"]["engine"]["init_args"]
        named = {name: kept[name] for name in ("precision", "channels_last")}
        return dataclasses.replace(engine, **named)
    first = torch.arange(min(batch_size, len(data.train)))
    return engine.settled(model, data.train.batch(first))


class _Training:
    """The epochs of one run: where it stands, and what it has measured."""

    def __init__(
        self,
        loop: Loop,
        data: Dataset,
        epochs: int,
        callbacks: Sequence[Callback],
        rate: Rate | None,
        folder: Path | None,
    ) -> None:
        self.loop, self.data, self.epochs = loop, data, epochs
        self.rate, self.folder = rate, folder
        self.callbacks = callbacks if rate is None else [*callbacks, rate]
        self.history: list[dict[str, float]] = []
        self.settings: dict[str, Any] = {}
        self.notes: list[str] = []
        self.stopped = False

    def begin(
        self, writer: CheckpointWriter, config: Mapping[str, Any], resume: bool | str
    ) -> None:
        """Units and callbacks first; then back to a checkpoint, the last unless named, if asked."""
        self.settings = _settings(config, self.data, self.loop.fabric)
        if self.data.own_units:
            self.loop.model.learn_units(
                self.data.means, self.data.variance, input_variance=self.data.input_variance
            )
        for callback in self.callbacks:
            callback.begin(self.loop.model, self.folder)
        if resume:
            state = writer.load(self.settings, resume if isinstance(resume, str) else "last")
            if state is not None:
                self.restore(state)
                self.notes += changes(state["settings"], self.settings, epoch=self.loop.epoch + 1)

    def run(self, writer: CheckpointWriter, *, show: bool) -> None:
        """Trains what is left to train."""
        total, fabric = self.epochs * self.loop.steps_per_epoch, self.loop.fabric
        self._write_history()
        with (
            Interruption(fabric) as interruption,
            Progress(self.epochs, start=self.loop.epoch, show=show) as progress,
        ):

            def after_step() -> None:
                if interruption.asked():
                    writer.save()
                    raise TrainingInterruptedError(self._farewell())
                writer.save_if_due()

            while self.loop.epoch < self.epochs and not self.stopped:
                began, before = time.perf_counter(), self.loop.examples * fabric.world_size
                row = self.loop.finish_epoch(total, self.callbacks, after_step)
                elapsed = time.perf_counter() - began
                row["examples_per_second"] = (self.loop.last_examples - before) / elapsed
                self._end_epoch(row, writer)
                progress.epoch(self.history[-1])
            writer.save()

    def state(self) -> State:
        """Everything that a resumed run needs."""
        return {
            **self.loop.state(),
            "history": self.history,
            "callbacks": [callback.state() for callback in self.callbacks],
            "stopped": self.stopped,
            "settings": self.settings,
            "notes": self.notes,
        }

    def restore(self, state: State) -> None:
        """Goes back to where `state` was taken."""
        self.loop.restore(state)
        self.history, self.stopped = list(state["history"]), state["stopped"]
        self.notes = list(state.get("notes", []))
        for callback, kept in zip(self.callbacks, state["callbacks"], strict=True):
            callback.restore(kept)

    def _end_epoch(self, row: dict[str, float], writer: CheckpointWriter) -> None:
        model = self.loop.model
        with contextlib.ExitStack() as stack:
            for callback in self.callbacks:
                stack.enter_context(callback.evaluating(model))
            held_out = evaluate(model, self.data.validation, variance=self.data.variance)
            row |= {f"validation_{name}": value for name, value in held_out.items()}
            for callback in self.callbacks:
                row |= callback.figures()
            self.history.append({"epoch": self.loop.epoch, **row})
            self._write_history(self.history[-1:])
            writer.compare(model, self.history[-1])  # the weights that were measured
        for callback in self.callbacks:
            self.stopped |= callback.after_epoch(model, self.history[-1])
        self.stopped = self.loop.fabric.broadcast(self.stopped)  # all ranks stop, or none
        writer.save_if_due()

    def _write_history(self, rows: Sequence[Mapping[str, float]] | None = None) -> None:
        """Appends rows to `metrics.jsonl`; without any, writes it anew."""
        if self.folder is None:
            return
        path = self.folder / "metrics.jsonl"
        text = "".join(f"{json.dumps(row)}\n" for row in (self.history if rows is None else rows))
        if rows is None:
            write_text(path, text)
        else:
            with path.open("a") as file:
                file.write(text)

    def _farewell(self) -> str:
        done = self.loop.epoch * self.loop.steps_per_epoch + self.loop.step
        if self.folder is None:
            return f"stopped after optimiser step {done}; nothing was saved, as no out was given"
        return (
            f"stopped after optimiser step {done}, all of it saved; go on with: "
            f"narrows train --resume {self.folder}{trust_options(self.folder)}"
        )


def _open(
    fabric: Fabric,
    out: str | Path | None,
    config: Mapping[str, Any],
    resume: bool,
    held: contextlib.ExitStack,
) -> Path | None:
    """Makes the run's folder, or finds it, and holds its lock; on the first rank, for all.

    Raises:
        FileExistsError: if it holds something and is not to be resumed.
        FolderInUseError: if another process writes into it.
        ValueError: if its run is finished.
    """
    if out is None:
        if resume:
            raise ValueError("resume needs out: the folder of the run to go on with")
        return None
    folder, trouble = Path(out), None
    if fabric.is_global_zero:
        try:
            if folder.is_dir() or not folder.exists():
                held.enter_context(sole_writer(folder))
            if (folder / "metrics.json").exists() and resume:
                raise ValueError(f"the run in {folder} is finished; there is nothing to resume")
            if not (resume and (folder / "config.yaml").exists()):
                claim_folder(folder)
                write_yaml(folder / "config.yaml", config)
            write_json(folder / "environment.json", environment())
        except (OSError, ValueError, FolderInUseError) as error:
            trouble = error
    trouble = fabric.broadcast(trouble)  # otherwise the other ranks would wait for ever
    if trouble is not None:
        raise trouble
    return folder


def _finish(training: _Training, folder: Path | None) -> Run:
    """Fits the prior to training codes, evaluates, writes."""
    data, loop = training.data, training.loop
    for callback in training.callbacks:
        callback.finish(loop.model)
    model = loop.trained()
    seed_step(loop.seed, -1, device=loop.fabric.device)
    model.eval()
    model.bottleneck.settle(latents(model, loop.train))
    if not model.prior.frozen:
        model.prior.fit(latents(model, loop.train))
    if training.rate is not None:
        training.rate.settle(model, train=loop.train, validation=data.validation)
    validation = evaluate(model, data.validation, variance=data.variance)
    test = evaluate(model, data.test, variance=data.variance)
    advice = [*training.notes, *quality_advice(test), *model.bottleneck.advice(test)]
    for callback in training.callbacks:
        advice += callback.advice(validation)
    name = data.origin.source or data.name
    run = Run(model, validation, test, training.history, name, folder, advice)
    if folder is not None and loop.fabric.is_global_zero:
        run.write(folder, data)
    loop.fabric.barrier()
    return run


def _config(model: Autoencoder, data: Dataset, arguments: dict[str, Any]) -> dict[str, Any]:
    """What a recipe holds, so that the run can be repeated from it."""
    parts: dict[str, Any] = {
        "network": spec(model.network),
        "bottleneck": spec(model.bottleneck),
        "likelihood": spec(model.likelihood),
        "beta": float(model.beta),
    }
    if model.objective is not None:
        parts["objective"] = spec(model.objective)
    config: dict[str, Any] = {
        "format": FORMAT,
        "model": parts,
        "data": data.origin.source or data.name,
    }
    if data.origin.options:
        config["data_options"] = spec(dict(data.origin.options))
    return config | {"fit": arguments}


def _settings(config: Mapping[str, Any], data: Dataset, fabric: Fabric) -> dict[str, Any]:
    """What must not change when a run is resumed: all that its numbers depend on."""
    fit_arguments = {k: v for k, v in config["fit"].items() if k not in ("checkpoints", "engine")}
    engine = dict(config["fit"]["engine"]["init_args"])
    for name in ("strategy", "workers"):  # where weights lie and who reads changes no number
        engine.pop(name, None)
    fit_arguments["engine"] = engine
    return {
        "model": config["model"],
        "data": {
            "name": data.name,
            "training examples": len(data.train),
            "content": data.fingerprint,
        },
        "ranks": fabric.world_size,
        "fit": fit_arguments,
        "threads": torch.get_num_threads() if fabric.device.type == "cpu" else None,
    }


def _checked(
    model: Autoencoder, data: Dataset | Tensor | Array, *, given: Mapping[str, Any]
) -> Dataset:
    """The data set, and all arguments as `fit` takes them."""
    check_arguments("fit", fit, given=given)
    if not isinstance(data, (Dataset, Tensor, np.ndarray)):
        raise TypeError(
            f"expected a data set or an array, got {data!r}; load it: data.load(...), or make one: "
            "data.from_array(...)"
        )
    data = data if isinstance(data, Dataset) else from_array(data)
    if tuple(data.shape) != model.shape:
        raise ValueError(
            f"the model was built for examples of shape {model.shape}, {data.name} has "
            f"{tuple(data.shape)}; build it with the data's shape: for_images(data.shape, ...)"
        )
    _check_pairs(model, data)
    _check_units(model, data)
    for split in (data.train, data.validation, data.test):
        if not split.own_units and split.dtype == torch.float32:
            for start in range(0, len(split), 256):
                refuse_range(split.stored(torch.arange(start, min(start + 256, len(split)))))
    for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0)):
        if given[name] < least:
            raise ValueError(f"{name} must be at least {least}, got {given[name]}")
    return data


def _check_pairs(model: Autoencoder, data: Dataset) -> None:
    """Refuses pairs for a model that would give inputs back, and the reverse."""
    if data.inputs != model.network.inputs:
        network = f"network=Pairs(inputs={data.inputs}) and a Transcoder"
        raise ValueError(
            f"the first {data.inputs} numbers of {data.name}'s examples are inputs, and the "
            f"model's network takes {model.network.inputs}; build it with "
            f"{network if data.inputs else 'another network, such as Direct()'}"
        )


def _check_units(model: Autoencoder, data: Dataset) -> None:
    """Refuses data in their own units for a model of images, and features on another axis."""
    if data.own_units and model.takes_images:
        raise ValueError(
            f"{data.name} has its own units, and the model takes images in [0, 1]; build it with "
            "Autoencoder.for_own_units"
        )
    axis = model.network.features_axis
    if len(data.shape) == 2 and axis not in (None, data.train.features):
        names = ("[n, channels, t]", "[n, t, d]")
        raise ValueError(
            f"{type(model.network).__name__} takes sequences {names[axis or 0]}, {data.name} has "
            f"{names[data.train.features or 0]}; load the data with layout="
            f"{('nct', 'ntd')[axis or 0]!r} if its axes are so, or use another network"
        )
