"""Where training runs: the adapter to Lightning Fabric."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, get_args

import torch
from lightning_fabric import Fabric

from narrows.recorded import Recorded
from narrows.training.sharding import Sharded

STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true", "fsdp")
Precision = Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]


@dataclass(frozen=True)
class Engine(Recorded):
    """Devices, ranks and precision, as Lightning Fabric understands them.

    Args:
        accelerator: "auto", "cpu", "cuda", "mps".
        devices: number of processes on this machine, "auto" for all devices.
        nodes: number of machines.
        strategy: "auto" or "ddp" (every process holds the model whole and a share of each
            batch); "ddp_find_unused_parameters_true" for a bottleneck of your own some of whose
            parameters take no part in some steps; "fsdp" where encoder and decoder are too large
            for that: each process keeps its share of them.
        precision: of the networks; bottlenecks compute in float32 or better all the same.
        accumulate: micro-batches per optimiser step, which is the step of one large batch. Where
            a part of the model looks at the whole batch, as `Normal("optimal")` does, encoder
            and decoder compute each micro-batch twice; docs/training.md says which do.
        channels_last: keep images and kernels channels-last in memory.
        compile: run the networks through `torch.compile`.

    Raises:
        ValueError: if accumulate is below 1, the weights would be in half precision, or the
            strategy is another, or one that cannot be had together with what else is asked.
    """

    accelerator: str = "auto"
    devices: int | Literal["auto"] = 1
    _: KW_ONLY
    nodes: int = 1
    strategy: str = "auto"
    precision: Precision = "32-true"
    accumulate: int = 1
    channels_last: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise ValueError(f"accumulate must be at least 1, got {self.accumulate}")
        if self.precision not in get_args(Precision):
            raise ValueError(
                f"precision must be one of {', '.join(get_args(Precision))}, got "
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

    @property
    def sharded(self) -> bool:
        """Whether a process has a share of the networks only."""
        return self.strategy == "fsdp"

    def _on_gpu(self) -> bool:
        gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
        return self.accelerator != "cpu" and gpu

    def fabric(self, **kwargs: Any) -> Fabric:
        """A launched Fabric."""
        if self.precision == "16-mixed" and not self._on_gpu():
            raise ValueError(
                "precision 16-mixed is for GPUs, and this run would be on a CPU; use bf16-mixed"
            )
        fabric = Fabric(
            accelerator=self.accelerator,
            devices=self.devices,
            num_nodes=self.nodes,
            strategy=Sharded() if self.sharded else self.strategy,
            precision=self.precision,
            **kwargs,
        )
        fabric.launch()
        return fabric
