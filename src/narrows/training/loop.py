"""One optimiser step after another, from wherever training stands."""

import contextlib
import copy
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from narrows.autoencoder import Autoencoder, Loss
from narrows.data.ahead import batches_ahead
from narrows.data.batching import batches, share, steps_per_epoch
from narrows.data.dataset import Split
from narrows.functional.ranks import sum_over_ranks
from narrows.training.callbacks.base import Callback
from narrows.training.engine import Engine
from narrows.training.optimization import Optimization
from narrows.training.pack import State
from narrows.training.seeding import seed_step
from narrows.training.sharding import (
    average_gradients,
    clip_gradients,
    gathered,
    load_optimizer,
    load_weights,
    share_buffers,
)


class NonFiniteLossError(RuntimeError):
    """Training met a loss that is NaN or infinite."""


class Loop:
    """The optimiser's steps over a training split, resumable between any two of them.

    A step takes `accumulate` micro-batches of `batch_size` examples on each rank, and is the step
    of one batch of that many examples. Where the loss is a mean over examples, the micro-batches'
    gradients are added up; where the model takes anything over the whole batch, the loss is that
    of the whole batch, and encoder and decoder alone take it in micro-batches
    (`Autoencoder.micro_batch`), at the cost of one more forward pass through them.

    Args:
        fabric: launched.
        model: trained in place, or where the engine cuts it into shards a copy of it.
        train: the examples.
        optimization: how the loss is minimised.
        engine: for what Fabric does not do itself: accumulation, memory format, compilation.
        batch_size: examples per rank and micro-batch.
        seed: of order and noise.

    Attributes:
        model: that is trained.
        epoch: epochs completed.
        step: steps completed in the present epoch.
        examples: examples seen by this rank in the present epoch.
        last_examples: examples seen by all ranks in the last epoch.
    """

    def __init__(
        self,
        fabric: Fabric,
        model: Autoencoder,
        *,
        train: Split,
        optimization: Optimization,
        engine: Engine,
        batch_size: int,
        seed: int,
    ) -> None:
        self.fabric: Fabric = fabric
        self.optimization: Optimization = optimization
        self.batch_size: int = batch_size
        self.seed: int = seed
        self.whole: bool = engine.accumulate > 1 and model.whole_batch
        self.train: Split = train.to(fabric.device)
        self.workers: int = engine.workers
        self.sharded: bool = engine.sharded
        self.given: Autoencoder = model
        self.model = model = copy.deepcopy(model) if self.sharded else model
        self.channels_last: bool = engine.channels_last and len(model.shape) == 3
        if self.channels_last and not self.sharded:  # a shard has no layout of a kernel
            model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        if engine.compile:
            model.encoder.compile()
            model.decoder.compile()
        self.objective: _Objective = _Objective(model)
        self.wrapped = fabric.setup_module(self.objective)
        self.optimizer: Any = fabric.setup_optimizers(optimization.optimizer(model))
        self.global_batch: int = fabric.world_size * batch_size * engine.accumulate
        self.steps_per_epoch: int = steps_per_epoch(len(train), self.global_batch)
        self.epoch: int = 0
        self.step: int = 0
        self.examples = 0
        self.last_examples: int = 0
        self.sums: dict[str, Tensor] = {}

    def finish_epoch(
        self, total_steps: int, callbacks: Sequence[Callback], after_step: Callable[[], None]
    ) -> dict[str, float]:
        """Trains to the end of the present epoch; means over all ranks' examples, in nats."""
        self.model.train()
        if self.whole:
            self.model.micro_batch = self.batch_size
        steps, ahead = itertools.tee(self._rest())
        parts = itertools.chain.from_iterable(ahead)
        reading = batches_ahead(self.train, parts, workers=self.workers)
        for micro_batches in steps:
            number = self.epoch * self.steps_per_epoch + self.step
            seed_step(self.seed, number, rank=self.fabric.global_rank, device=self.fabric.device)
            for callback in callbacks:
                callback.before_step(self.model, number / total_steps)
            rate = self.optimization.set_rate(self.optimizer, number / total_steps)
            losses = self._step(micro_batches, reading, number, rate)
            for callback in callbacks:
                callback.after_step(self.model, _joined(losses))
            self._count(micro_batches, losses)
            self.step += 1
            after_step()
        share_buffers(self.model)  # ranks that measure the epoch measure the same
        seen = int(sum_over_ranks(torch.tensor(self.examples, device=self.fabric.device)))
        row = {name: sum_over_ranks(value).item() / seen for name, value in self.sums.items()}
        row["learning_rate"] = self.optimizer.param_groups[0]["lr"]
        if self.whole:
            self.model.micro_batch = None
        self.last_examples = seen
        self.epoch, self.step, self.examples, self.sums = self.epoch + 1, 0, 0, {}
        return row

    def state(self) -> State:
        """Everything that the coming steps depend on, and that (seed, step) does not give."""
        return {
            "model": self.model.state_dict(),
            "beta": float(self.model.beta),
            "optimizer": self.optimizer.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "examples": self.examples,
            "sums": self.sums,
        }

    def restore(self, state: State) -> None:
        """Goes back to where `state` was taken."""
        load_weights(self.model, state["model"])
        self.model.beta = state["beta"]
        load_optimizer(self.optimizer, state["optimizer"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.epoch, self.step = state["epoch"], state["step"]
        # The first rank's figures were kept: the others start theirs at 0, so none counts twice.
        own = int(self.fabric.is_global_zero)
        self.examples = own * state["examples"]
        self.sums = {name: own * v.to(self.fabric.device) for name, v in state["sums"].items()}

    def trained(self) -> Autoencoder:
        """The model that was given, with the trained weights, whole on every rank."""
        if self.sharded:
            self.fabric.strategy.precision.convert_module(self.given)
            self.given.load_state_dict(gathered(self.model.state_dict(), everywhere=True))
            self.given.beta = self.model.beta
            self.given.to(self.fabric.device)
        return self.given

    def _rest(self) -> Iterator[list[Tensor]]:
        """The row numbers of what this rank adds up, for the steps left in the epoch."""
        rank, world = self.fabric.global_rank, self.fabric.world_size
        for index in batches(
            len(self.train), self.global_batch, seed=self.seed, epoch=self.epoch, start=self.step,
            buffer=self.train.buffer, entering=self.train.prefetch,
        ):  # fmt: skip
            rows = share(index, rank, world)
            yield [rows] if self.whole else list(rows.split(self.batch_size))

    def _step(
        self, micro_batches: list[Tensor], reading: Iterator[Tensor], number: int, rate: float
    ) -> list[Loss]:
        """One optimiser step and the running updates that follow it."""
        examples = sum(map(len, micro_batches))
        images: list[Tensor] = []
        losses: list[Loss] = []
        if self.sharded:
            share_buffers(self.model)
        for index in micro_batches:
            last = len(losses) == len(micro_batches) - 1
            with self._unsynchronised(enabled=not last):
                x = next(reading)
                if self.channels_last:
                    x = x.to(memory_format=torch.channels_last)
                total, loss = self._loss(x)
                if not math.isfinite(loss.total.item()):
                    raise NonFiniteLossError(_diagnosis(loss, number, rate))
                self.fabric.backward(total * (len(index) / examples))
            images.append(x)
            # A lone micro-batch's graph is spent anyway; letting go of it costs time.
            losses.append(loss if len(micro_batches) == 1 else _detached(loss))
        if self.sharded:
            average_gradients(self.model)
        self._clip(self.optimization.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.model.update(images, losses)
        return losses

    def _unsynchronised(self, enabled: bool) -> contextlib.AbstractContextManager[object]:
        """Lets ranks exchange gradients once a step; shards are too few to keep them till then."""
        if self.sharded:
            return contextlib.nullcontext()
        return self.fabric.no_backward_sync(self.wrapped, enabled=enabled)

    def _clip(self, largest: float | None) -> None:
        if largest is None:
            return
        if self.sharded:
            clip_gradients(self.model, largest)
        else:
            self.fabric.clip_gradients(self.wrapped, self.optimizer, max_norm=largest)

    def _loss(self, x: Tensor) -> tuple[Tensor, Loss]:
        """What to differentiate, under the engine's precision, and the loss with its parts."""
        if self.fabric.world_size > 1:
            total = self.wrapped(x)
            return total, vars(self.objective).pop("loss")
        # Fabric's wrapper would walk through all that the loss holds, twice a step.
        precision = self.fabric.strategy.precision
        with precision.forward_context():
            loss = self.model.loss(precision.convert_input(x))
        return loss.total, loss

    def _count(self, micro_batches: list[Tensor], losses: list[Loss]) -> None:
        """Adds the step's figures to those of the epoch; they stay on the device."""
        for index, loss in zip(micro_batches, losses, strict=True):
            self.examples += len(index)
            for name, value in _figures(loss).items():
                if name in self.sums:
                    self.sums[name].add_(value, alpha=len(index))
                else:
                    self.sums[name] = value * len(index)


class _Objective(nn.Module):
    """The loss as a forward pass, which is what a strategy wraps and watches.

    It returns the total alone and keeps the parts in `loss`: a strategy converts what comes out
    tensor by tensor, and refuses frozen dataclasses.
    """

    loss: Loss

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """The scalar to minimise."""
        self.loss = self.model.loss(x)
        return self.loss.total


def _figures(loss: Loss) -> dict[str, Tensor]:
    """Means over the batch (and over draws, where there are several), in nats."""
    figures = {"loss": loss.total.detach(), "nll": loss.nll.detach().mean()}
    if loss.rate is not None:
        figures["rate"] = loss.rate.detach().mean()
    return figures | {name: value.detach().mean() for name, value in loss.terms.items()}


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


def _joined(losses: list[Loss]) -> Loss:
    """The loss of a step from those of its micro-batches; the latent is that of the last."""
    if len(losses) == 1:
        return losses[0]
    sizes = [len(loss.output) for loss in losses]

    def whole(values: list[Tensor]) -> Tensor:
        draws = len(values[0]) // sizes[0]
        return torch.cat([value.unflatten(0, (draws, -1)) for value in values], 1).flatten(0, 1)

    rates = [loss.rate for loss in losses if loss.rate is not None]
    total = sum(loss.total * size for loss, size in zip(losses, sizes, strict=True))
    return Loss(
        total=torch.as_tensor(total) / sum(sizes),
        nll=whole([loss.nll for loss in losses]),
        rate=whole(rates) if rates else None,
        terms={name: whole([loss.terms[name] for loss in losses]) for name in losses[0].terms},
        latent=dataclasses.replace(
            losses[-1].latent, features=torch.cat([loss.latent.features for loss in losses])
        ),
        output=torch.cat([loss.output for loss in losses]),
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
