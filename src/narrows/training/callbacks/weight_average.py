"""An exponential moving average of the weights, used wherever the model is measured."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder, Loss
from narrows.training.callbacks.base import Callback
from narrows.training.pack import State
from narrows.training.sharding import cut_like, local


class WeightAverage(Callback):
    """Averages the parameters over steps t: `a <- d a + (1 - d) w`, d = min(decay, (1+t)/(10+t)).

    Validation during training sees the averaged weights, and the finished run has them; buffers
    (running statistics, moving-average codebooks) stay as they are, being averages already.

    Args:
        decay: of the average; 0.999 looks back over about 1,000 steps.

    Raises:
        ValueError: if the decay is not in [0, 1).

    Source: Polyak and Juditsky, 1992; the warm-up of d as in TensorFlow's
    `ExponentialMovingAverage(num_updates)`, so that early steps are forgotten.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        self.decay = decay
        self.steps: int = 0
        self.average: dict[str, Tensor] = {}

    def begin(self, model: Autoencoder, _folder: Path | None, /) -> None:
        """Starts at the present weights."""
        self.steps = 0
        self.average = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def after_step(self, model: Autoencoder, _loss: Loss, /) -> None:
        """Moves the average towards the weights."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        now = [local(parameter.detach()) for parameter in model.parameters()]
        torch._foreach_lerp_([local(average) for average in self.average.values()], now, 1 - decay)

    def evaluating(self, model: Autoencoder) -> AbstractContextManager[None]:
        """The averaged weights stand in for the present ones."""
        return self._standing_in(model)

    @torch.no_grad()
    def finish(self, model: Autoencoder) -> None:
        """The averaged weights become the model's."""
        for name, parameter in model.named_parameters():
            parameter.copy_(self.average[name])

    def state(self) -> State:
        """The average and its age."""
        return {"steps": self.steps, "average": self.average}

    def restore(self, state: State) -> None:
        """Takes both back, onto the device where the average is."""
        self.steps = state["steps"]
        for name, value in state["average"].items():
            self.average[name].copy_(cut_like(value, self.average[name]))

    @contextmanager
    def _standing_in(self, model: Autoencoder) -> Iterator[None]:
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        self.finish(model)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    parameter.copy_(before[name])
