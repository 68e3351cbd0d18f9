"""Stops when a measure on the validation split has not improved for a while."""

import math
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.training.callbacks.base import Callback
from narrows.training.pack import State
from narrows.training.sharding import load_weights


class EarlyStopping(Callback):
    """Ends training after `patience` epochs without improvement, and goes back to the best.

    Args:
        patience: epochs to wait.
        measure: column of `metrics.jsonl` that is to become small; a minus sign before the name
            asks for large.
        least: by how much it must improve to count.

    Raises:
        ValueError: if the patience is below 1, or a run has no such measure.
    """

    def __init__(
        self, patience: int = 5, measure: str = "validation_loss", *, least: float = 0.0
    ) -> None:
        if patience < 1 or least < 0:
            raise ValueError(
                f"patience must be at least 1 and least at least 0, got {patience} and {least}"
            )
        self.patience: int = patience
        self.measure: str = measure
        self.least: float = least
        self._forget()

    def begin(self, _model: Autoencoder, _folder: Path | None, /) -> None:
        """Forgets an earlier run."""
        self._forget()

    def after_epoch(self, model: Autoencoder, row: Mapping[str, float]) -> bool:
        """Whether it is time to stop."""
        name = self.measure.lstrip("-")
        if name not in row:
            raise ValueError(
                f"EarlyStopping: there is no measure {name!r}; this run has {', '.join(row)}"
            )
        value = -row[name] if self.measure.startswith("-") else row[name]
        if value < self.best - self.least:
            self.best = value
            self.waited: int = 0
            self.weights = {k: v.detach().clone() for k, v in model.state_dict().items()}
        else:
            self.waited += 1
        return self.waited >= self.patience

    def finish(self, model: Autoencoder) -> None:
        """The best epoch's weights become the model's."""
        if self.weights:
            load_weights(model, self.weights)

    def state(self) -> State:
        """The best so far, its weights, and the epochs since."""
        return {"best": self.best, "waited": self.waited, "weights": self.weights}

    def restore(self, state: State) -> None:
        """Takes them back."""
        self.best, self.waited = state["best"], state["waited"]
        self.weights = dict(state["weights"])

    def _forget(self) -> None:
        self.best, self.waited = math.inf, 0
        self.weights: dict[str, Tensor] = {}
