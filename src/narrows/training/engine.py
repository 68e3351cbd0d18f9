"""Where training runs: the adapter to Lightning Fabric."""

from dataclasses import dataclass
from typing import Any, Literal

from lightning_fabric import Fabric

from narrows.recorded import Recorded

Precision = Literal["32-true", "bf16-mixed", "bf16-true", "16-mixed", "64-true"]


@dataclass(frozen=True)
class Engine(Recorded):
    """Devices, ranks and precision, as Lightning Fabric understands them.

    Args:
        accelerator: "auto", "cpu", "cuda", "mps".
        devices: number of processes on this machine, "auto" for all devices.
        nodes: number of machines.
        strategy: "auto", "ddp", "fsdp".
        precision: of the networks; bottlenecks compute in float32 or better all the same.
        accumulate: micro-batches per optimiser step: one large batch, but for what is taken over
            a micro-batch, as the sigma of `Normal("optimal")` is.
        channels_last: keep images and kernels channels-last in memory.
        compile: run the networks through `torch.compile`.
    """

    accelerator: str = "auto"
    devices: int | Literal["auto"] = 1
    nodes: int = 1
    strategy: str = "auto"
    precision: Precision = "32-true"
    accumulate: int = 1
    channels_last: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise ValueError(f"accumulate must be at least 1, got {self.accumulate}")

    def fabric(self, **kwargs: Any) -> Fabric:
        """A launched Fabric."""
        fabric = Fabric(
            accelerator=self.accelerator,
            devices=self.devices,
            num_nodes=self.nodes,
            strategy=self.strategy,
            precision=self.precision,
            **kwargs,
        )
        fabric.launch()
        return fabric
