"""Where training runs: the adapter to Lightning Fabric."""

import copy
import dataclasses
import itertools
import os
import time
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, Self, get_args

import torch
from lightning_fabric import Fabric
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.recorded import Recorded
from narrows.training.sharding import Sharded

STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true", "fsdp")
Precision = Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]


@dataclass(frozen=True)
class Engine(Recorded):
    """Devices, ranks and precision, as Lightning Fabric understands them.

    Args:
        accelerator: "auto", "cpu", "cuda", "mps".
        devices: number of processes on this machine, "auto" for all devices. Under torchrun,
            which starts them itself, leave it and `nodes` out.
        nodes: number of machines.
        strategy: "auto" or "ddp" (every process holds the model whole and a share of each
            batch); "ddp_find_unused_parameters_true" for a bottleneck of your own some of whose
            parameters take no part in some steps; "fsdp" where encoder and decoder are too large
            for that: each process keeps its share of them.
        precision: of the networks; bottlenecks compute in float32 or better all the same. "auto"
            times a few steps when training begins, and takes bf16-mixed where that is faster; the
            run's configuration then says which it was.
        accumulate: micro-batches per optimiser step, which is the step of one large batch. Where
            a part of the model looks at the whole batch, as `Normal("optimal")` does, encoder
            and decoder compute each micro-batch twice; docs/training.md says which do.
        channels_last: keep images and kernels channels-last in memory; "auto" times both.
        compile: run the networks through `torch.compile`.
        workers: processes of each rank that read the next batches meanwhile, for data on a disk
            that is slow; no number depends on it.

    Raises:
        ValueError: if accumulate is below 1, workers below 0, the weights would be in half
            precision, or the strategy is another, or one that cannot be had together with what else
            is asked.
    """

    accelerator: str = "auto"
    devices: int | Literal["auto"] = 1
    _: KW_ONLY
    nodes: int = 1
    strategy: str = "auto"
    precision: Precision | Literal["auto"] = "32-true"
    accumulate: int = 1
    channels_last: bool | Literal["auto"] = False
    compile: bool = False
    workers: int = 0

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise ValueError(f"workers must be at least 0, got {self.workers}")
        if self.accumulate < 1:
            raise ValueError(f"accumulate must be at least 1, got {self.accumulate}")
        if self.precision not in (*get_args(Precision), "auto"):
            raise ValueError(
                f"precision must be one of auto, {', '.join(get_args(Precision))}, got "
                f"{self.precision!r}; weights in half precision (bf16-true) are refused because "
                "moving averages stand still in it: use bf16-mixed"
            )
        if self.strategy not in STRATEGIES:
            raise ValueError(
                f"strategy must be one of {', '.join(STRATEGIES)}, got {self.strategy!r}; those "
                "that cut the whole model (deepspeed) are refused because codebooks, "
                "dictionaries and averages are updated in place between steps, which needs them "
                "whole on every rank; fsdp cuts encoder and decoder only"
            )
        if self.sharded and (self.compile or self.precision == "16-mixed"):
            raise ValueError(
                "strategy fsdp goes without compile and 16-mixed: layers are put together while "
                "they run, and a scaler would have to see all shards; use bf16-mixed, or ddp"
            )

    def settled(self, model: Autoencoder, x: Tensor) -> Self:
        """The same with what is "auto" decided by a few steps; see `fastest`.

        Args:
            model: that will be trained; it is left alone.
            x: a batch of it.

        Raises:
            ValueError: if several processes would have to agree.
        """
        if "auto" not in (self.precision, self.channels_last):
            return self
        if self.devices != 1 or self.nodes != 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ValueError(
                "precision and channels_last are chosen (auto) for one process; name them where "
                "several train together"
            )
        both = len(model.shape) == 3 and self.channels_last == "auto"
        layouts = (False, True) if both else (self.channels_last is True,)
        named = self.precision != "auto"
        precisions = (self.precision,) if named else ("32-true", "bf16-mixed")
        device = torch.device("cuda" if self._on_gpu() and torch.cuda.is_available() else "cpu")
        probed = copy.deepcopy(model).to(device)
        precision, layout = fastest(probed, x.to(device), precisions=precisions, layouts=layouts)
        return dataclasses.replace(self, precision=precision, channels_last=layout)

    @property
    def sharded(self) -> bool:
        """Whether a process has a share of the networks only."""
        return self.strategy == "fsdp"

    def _spread(self) -> tuple[int | str, int]:
        """Processes on this machine, and machines: what torchrun started, where it did.

        Raises:
            ValueError: if something else was asked for.
        """
        if not torch.distributed.is_torchelastic_launched():
            return self.devices, self.nodes
        here, world = (int(os.environ[name]) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
        started = here, max(world // here, 1)
        if (self.devices, self.nodes) not in ((1, 1), ("auto", 1), ("auto", started[1]), started):
            raise ValueError(
                f"torchrun started {here} processes on each of {started[1]} machines, and the "
                f"engine asks for {self.devices} and {self.nodes}; leave out devices and nodes"
            )
        return started

    def _on_gpu(self) -> bool:
        gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
        return self.accelerator != "cpu" and gpu

    def fabric(self, **kwargs: Any) -> Fabric:
        """A launched Fabric."""
        if self.precision == "16-mixed" and not self._on_gpu():
            raise ValueError(
                "precision 16-mixed is for GPUs, and this run would be on a CPU; use bf16-mixed"
            )
        if self.precision == "auto":
            raise ValueError("precision auto has to be decided first: call settled(model, x)")
        devices, nodes = self._spread()
        fabric = Fabric(
            accelerator=self.accelerator,
            devices=devices,
            num_nodes=nodes,
            strategy=Sharded() if self.sharded else self.strategy,
            precision=self.precision,
            **kwargs,
        )
        fabric.launch()
        return fabric


FASTER = 0.95
"""Time over that of float32 with images in their usual layout, below which another is taken."""
_STEPS = 3  # timed, after one that is not


def fastest(
    model: Autoencoder, x: Tensor, *, precisions: tuple[str, ...], layouts: tuple[bool, ...]
) -> tuple[str, bool]:
    """The precision and layout with the shortest training step, by forward and backward passes.

    The first of each stands unless another is 5 % faster: what is fast on one processor is slow
    on the next (bf16 needs units for it, not only instructions). The model and the caller's random
    numbers are left alone.

    Args:
        model: on the device that will train it.
        x: a batch.
        precisions: "32-true", "bf16-mixed".
        layouts: whether images and kernels are channels-last.
    """
    with torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []):
        seconds = {
            pair: _seconds(model, x, *pair) for pair in itertools.product(precisions, layouts)
        }
    return choice(seconds, (precisions[0], layouts[0]))


def choice(seconds: Mapping[tuple[str, bool], float], usual: tuple[str, bool]) -> tuple[str, bool]:
    """The fastest, if it is faster than the usual by more than chance."""
    best = min(seconds, key=seconds.__getitem__)
    return best if seconds[best] < FASTER * seconds[usual] else usual


def _seconds(model: Autoencoder, x: Tensor, precision: str, channels_last: bool) -> float:
    """Of the fastest of a few forward and backward passes."""
    own, found = copy.deepcopy(model).train(), []
    if channels_last:
        own.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        x = x.to(memory_format=torch.channels_last)
    for _ in range(1 + _STEPS):
        began = time.perf_counter()
        with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
            total = own.loss(x).total
        total.backward()
        if x.device.type == "cuda":
            torch.cuda.synchronize(x.device)
        found.append(time.perf_counter() - began)
        own.zero_grad(set_to_none=True)
    return min(found[1:])
