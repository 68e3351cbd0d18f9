"""Optimiser, learning rate and its schedule."""

import math
from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass, field

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from narrows.recorded import Recorded


class Schedule(Recorded, ABC):
    """A function of training progress that the peak learning rate is multiplied by."""

    @abstractmethod
    def __call__(self, progress: float, /) -> float:
        """The factor at `progress`, the fraction of optimiser steps done, in [0, 1)."""


@dataclass(frozen=True)
class Constant(Schedule):
    """The peak rate throughout."""

    def __call__(self, _progress: float, /) -> float:
        """Always 1."""
        return 1.0


@dataclass(frozen=True)
class Cosine(Schedule):
    """Linear warm-up, then half a cosine down (Loshchilov & Hutter 2017, eq. 5, one period).

    Args:
        warmup: fraction of training spent rising from 0.
        floor: the factor at the end.
    """

    warmup: float = 0.02
    floor: float = 0.0

    def __post_init__(self) -> None:
        _fraction("warmup", self.warmup)
        _fraction("floor", self.floor)

    def __call__(self, progress: float) -> float:
        """Rises to 1 at `warmup`, falls to `floor` at the end."""
        if progress < self.warmup:
            # Half-way into the first step's slot, so that no step is spent at rate zero.
            return max(progress / self.warmup, 1e-3)
        rest = (progress - self.warmup) / (1 - self.warmup)
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * rest))


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up from peak/25 along half a cosine, then down to nearly 0 (Smith & Topin 2018).

    Args:
        rise: fraction of training spent rising.
    """

    rise: float = 0.3

    def __post_init__(self) -> None:
        _fraction("rise", self.rise)

    def __call__(self, progress: float) -> float:
        """Between 1/25 at the start, 1 at `rise`, and 1e-4 at the end."""
        if progress < self.rise:
            return _between(1 / 25, 1.0, progress / self.rise)
        return _between(1.0, 1e-4, (progress - self.rise) / (1 - self.rise))


def _between(start: float, end: float, t: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * t))


def _fraction(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name} is a fraction of training, in [0, 1); got {value}")


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
    _: KW_ONLY
    weight_decay: float = 0.0
    clip: float | None = None

    def __post_init__(self) -> None:
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate}")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay must be at least 0, got {self.weight_decay}")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip must be above 0, or None for no clipping; got {self.clip}")

    def optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        """AdamW over the parameters of a model or any module in two groups, decayed and not."""
        bottleneck = getattr(module, "bottleneck", None)
        latent = set() if bottleneck is None else set(bottleneck.parameters())
        trained = [p for p in module.parameters() if p.requires_grad]
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
