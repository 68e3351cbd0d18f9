"""Trains one model of every family through `fit` and keeps its state and figures.

Run alone it is one process on the whole batch; under `torchrun --nproc-per-node 2` two processes
share each batch, once with the whole model on each (ddp) and once with half of its networks
(fsdp). Random numbers of a training step are drawn for the whole batch from one stream
and every rank takes its own rows, so that both runs compute the same thing.

    python ranks_program.py FOLDER
"""

import contextlib
import functools
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.utils._python_dispatch import TorchDispatchMode

import narrows as nw
from narrows.data.mapped import MappedSplit
from narrows.functional.ranks import rank, ranks
from narrows.objectives import ImportanceWeighted
from narrows.training import (
    Callback,
    Checkpoints,
    EarlyStopping,
    Engine,
    Geco,
    Optimization,
    WeightAverage,
)
from narrows.training.sharding import local
from tests.families import FAMILIES

BATCH, STEPS, EPOCHS = 32, 4, 2
NETWORK = nw.networks.Conv(hidden=8, residual_layers=1, residual_hidden=4, downsamplings=1)


class SharedDraws(TorchDispatchMode):
    """Draws what a step draws for the whole batch, and gives each part of it its rows.

    Args:
        draws: codes drawn per example: the first axis of what is drawn is `draws * batch`.

    Attributes:
        part, parts: which part is to draw, of how many: this rank of all ranks.
    """

    def __init__(self, draws: int) -> None:
        super().__init__()
        self.draws, self.generator, self.calls = draws, torch.Generator().manual_seed(7), 0
        self.part, self.parts = rank(), ranks()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        kwargs = dict(kwargs or {})
        if kwargs.get("generator") is not None:  # somebody's own, the same on every rank
            return func(*args, **kwargs)
        if name in ("normal_", "exponential_", "cauchy_", "uniform_"):
            whole = func(self._whole(args[0]), *args[1:], **kwargs, generator=self.generator)
            return args[0].copy_(self._mine(whole))
        if name in ("rand_like", "randn_like"):
            whole = self._whole(args[0])
            return self._mine(getattr(torch, name[:-5])(
                whole.shape, dtype=whole.dtype, generator=self.generator
            ))  # fmt: skip
        if name in ("rand", "randint"):
            place = len(args) - 1  # the size comes last
            size = [args[place][0] * self.parts, *args[place][1:]]
            kwargs.pop("generator", None)
            self.calls += 1
            drawn = getattr(torch, name)(*args[:place], size, generator=self.generator, **kwargs)
            return self._mine(drawn)
        if name == "multinomial":  # by the inverse of the distribution function
            uniform = self._whole(args[0][:, :1])
            uniform = self._mine(uniform.uniform_(generator=self.generator))
            total = args[0].cumsum(1)
            return torch.searchsorted(total, uniform * total[:, -1:]).clamp(max=total.shape[1] - 1)
        return func(*args, **kwargs)

    def _whole(self, mine):
        """Room for the rows of all parts."""
        self.calls += 1
        return mine.new_empty(mine.shape[0] * self.parts, *mine.shape[1:])

    def _mine(self, whole):
        """This part of each draw's batch."""
        parts = whole.unflatten(0, (self.draws, self.parts, -1))
        return parts[:, self.part].flatten(0, 1).contiguous()


class Sharing(Callback):
    """Puts `SharedDraws` around every step that draws, and proves that nothing else was drawn."""

    def __init__(self, draws: int, random: bool) -> None:
        self.mode, self.random = SharedDraws(draws), random

    def before_step(self, model, progress):
        self.before = torch.random.get_rng_state()
        if self.random:  # what goes through Python takes its time
            self.mode.__enter__()

    def after_step(self, model, loss):
        if self.random:
            self.mode.__exit__(None, None, None)
        assert torch.equal(self.before, torch.random.get_rng_state())


def mapped(split):
    """The same examples, backwards in a file of which each rank reads the rows it needs."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/images.npy", split.images.flip(0).numpy())
        source = torch.from_numpy(np.load(Path(folder) / "images.npy", mmap_mode="c"))
    return MappedSplit(source, torch.arange(len(split)).flip(0))


class Crash(Exception):  # noqa: N818
    """What a crash looks like from inside."""


class CrashAt(Callback):
    """Crashes at a step, once, on every rank; says nothing of it in its record."""

    step = None

    def after_step(self, model, loss):
        if CrashAt.step is not None:
            CrashAt.step -= 1
            if CrashAt.step == 0:
                CrashAt.step = None
                raise Crash


class Share(Callback):
    """Notes which share of the networks' weights and gradients lies on this rank."""

    def after_step(self, model, loss):
        weights = [*model.encoder.parameters(), *model.decoder.parameters()]
        held = sum(local(weight).numel() for weight in weights)
        self.share = held / sum(weight.numel() for weight in weights)


@functools.cache
def digits():
    return nw.data.load("digits")


def is_random(name):
    """Whether training draws: its families' codes, or noise in place of rounding."""
    fixed = ("plain", "vq", "fsq", "lfq", "simvq", "sparse", "softmax", "projected")
    others = ("split of quantisers", "residual gradient", "residual of unlike")
    return (not name.startswith(fixed) or name == "fsq noise") and not name.startswith(others)


def train(name, strategy="auto", *, any_ranks=False, **options):
    """The state after a few steps, the optimiser's included, and what was measured."""
    whole = digits()
    parts = (whole.train.head(BATCH * STEPS), whole.validation.head(40), whole.test.head(40))
    data = replace(whole, train=parts[0], validation=parts[1], test=parts[2])
    if name == "mapped from a file":
        data = replace(data, train=mapped(parts[0]))
    torch.manual_seed(0)
    family, micro_batches = name.removesuffix(ACCUMULATED), name.endswith(ACCUMULATED)
    family, steered = family.removesuffix(AT_A_RATE), name.endswith(AT_A_RATE)
    bottleneck = FAMILIES.get(family, FAMILIES["normal"])()
    accumulate = 2 if micro_batches and ranks() > 1 else 1
    model = nw.Autoencoder.for_images(
        data.shape,
        bottleneck,
        network=nw.networks.ResNet(hidden=8) if name == "batch norm" else NETWORK,
        likelihood=nw.likelihoods.Normal(0.5) if name in ("geco", "vq ema" + ACCUMULATED) else None,
        objective=ImportanceWeighted(3) if name == "importance weighted" else None,
    )
    # The first rank's weights count, as after any difference in what happened before.
    if rank() > 0:
        with torch.no_grad():
            next(model.parameters()).add_(1)
    draws = 3 if name == "importance weighted" else bottleneck.draws
    callbacks = [Sharing(draws, is_random(name)), Share(), WeightAverage(0.5), CrashAt()]
    if name == "geco":
        callbacks.append(Geco(30.0))
    if name == "early stopping":  # the worst is taken for the best, and gone back to
        callbacks[2] = EarlyStopping(2, "-validation_loss")
    run = nw.fit(
        model,
        data,
        epochs=EPOCHS,
        batch_size=BATCH // ranks() // accumulate,
        optimization=Optimization(learning_rate=1e-2, clip=1.0),
        engine=Engine(
            "cpu",
            devices=ranks(),
            strategy=strategy,
            precision="64-true",
            accumulate=accumulate,
        ),
        callbacks=callbacks,
        rate=nw.Rate(0.4) if steered else None,
        checkpoints=Checkpoints(seconds=0, any_ranks=any_ranks),
        show=False,
        **options,
    )
    state = {key: value.clone() for key, value in run.model.state_dict().items()}
    figures = {k: v for k, v in run.history[-1].items() if k != "examples_per_second"}
    figures = {f"test {k}": v for k, v in run.test.items()} | figures
    state |= {f"figure {k}": torch.tensor(v, dtype=torch.float64) for k, v in figures.items()}
    state["beta"] = torch.tensor(run.model.beta, dtype=torch.float64)
    state["calls"] = torch.tensor(callbacks[0].mode.calls)
    return state, callbacks[1].share


ACCUMULATED = ", accumulated"  # by each of the two; the one process has the batch whole
AT_A_RATE = " at a rate"
OTHERS = [
    "geco",
    *(name + AT_A_RATE for name in ("simvq", "fsq", "categorical gumbel", "sparse omp")),
    "importance weighted",
    "early stopping",
    *(
        name + ACCUMULATED
        for name in ("free bits", "categorical nvil", "sparse batch top-k", "vq ema")
    ),
]
# Shards of the networks know nothing of what a family has in variants: each family once.
NAMES = {
    "ddp": [*FAMILIES, *OTHERS, "mapped from a file"],
    "fsdp": [
        "plain",
        "normal",
        "spike and slab",
        "categorical rloo",
        "categorical gumbel",
        "split",
        "vq ema k-means",
        "vq ema",
        "vq gradient warm-up",
        "residual",
        "fsq",
        "lfq",
        "simvq",
        "sparse lasso",
        "sparse image",
        "softmax dictionary",
        *OTHERS,
    ],
}


def main(folder):
    torch.set_num_threads(1)
    Engine("cpu", devices=int(os.environ["WORLD_SIZE"]), strategy="ddp").fabric()
    for strategy in NAMES:
        for name in [*NAMES[strategy], "batch norm"]:
            state, share = train(name, strategy)
            state["share"] = torch.tensor(share)
            save_file(state, Path(folder) / f"{name}.{strategy}.{rank()}.safetensors")
    for first in NAMES:
        for then in NAMES:
            out = Path(folder) / f"{first} then {then}"
            crash(out, first)
            state = train("vq ema", then, out=out, resume=True)[0]
            save_file(state, Path(folder) / f"{out.name}.{rank()}.safetensors")
    crash(Path(folder) / TWO_THEN_ONE, "ddp")
    state = train("vq ema", "ddp", out=Path(folder) / ONE_THEN_TWO, resume=True, any_ranks=True)[0]
    save_file(state, Path(folder) / f"{ONE_THEN_TWO}.{rank()}.safetensors")


ONE_THEN_TWO, TWO_THEN_ONE = "one then two", "two then one"


def crash(out, strategy="auto"):
    """A run in a folder that crashes within its second epoch."""
    CrashAt.step = STEPS + 3
    with contextlib.suppress(Crash):
        train("vq ema", strategy, out=out)


if __name__ == "__main__":
    # Under the name that its parts were recorded by where one process trained them.
    from tests.training import ranks_program

    ranks_program.main(sys.argv[1])
