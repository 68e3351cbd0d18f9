"""AdamW with a schedule and clipping."""

from dataclasses import dataclass, field

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from narrows.recorded import Recorded
from narrows.training.learning_rate import Cosine, Schedule


@dataclass(frozen=True)
class Optimization(Recorded):
    """How the loss is minimised: AdamW (Loshchilov & Hutter 2019).

    Args:
        learning_rate: the peak rate.
        schedule: how the rate runs over training.
        weight_decay: decoupled; applied to matrices and kernels only, not to biases, norms or
            codebooks.
        clip: largest norm of the whole gradient; None leaves it.
    """

    learning_rate: float = 1e-3
    schedule: Schedule = field(default_factory=Cosine)
    weight_decay: float = 0.0
    clip: float | None = None

    def __post_init__(self) -> None:
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate}")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay must be at least 0, got {self.weight_decay}")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip must be above 0, or None for no clipping; got {self.clip}")

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """AdamW over the model's parameters in two groups, decayed and not."""
        bottleneck = getattr(model, "bottleneck", None)
        latent = set() if bottleneck is None else set(bottleneck.parameters())
        trained = [p for p in model.parameters() if p.requires_grad]
        decayed = [p for p in trained if p.dim() > 1 and p not in latent]
        chosen = set(decayed)
        groups = [
            {"params": decayed, "weight_decay": self.weight_decay},
            {"params": [p for p in trained if p not in chosen], "weight_decay": 0.0},
        ]
        # Torch's batched step takes no shards and whole tensors side by side.
        batched = False if any(isinstance(p, DTensor) for p in trained) else None
        return torch.optim.AdamW(groups, lr=self.learning_rate, foreach=batched)

    def set_rate(self, optimizer: torch.optim.Optimizer, progress: float) -> float:
        """Sets the learning rate for the step at this fraction of training; returns it."""
        rate = self.learning_rate * self.schedule(progress)
        for group in optimizer.param_groups:
            group["lr"] = rate
        return rate
