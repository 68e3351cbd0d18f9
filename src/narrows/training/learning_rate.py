"""Learning-rate schedules: progress in [0, 1] -> factor of the peak rate."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from narrows.recorded import Recorded


class Schedule(Recorded, ABC):
    """A function of training progress that the peak learning rate is multiplied by."""

    @abstractmethod
    def __call__(self, progress: float) -> float:
        """The factor at `progress`, the fraction of optimiser steps done, in [0, 1)."""


@dataclass(frozen=True)
class Constant(Schedule):
    """The peak rate throughout."""

    def __call__(self, progress: float) -> float:
        """Always 1."""
        del progress
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
