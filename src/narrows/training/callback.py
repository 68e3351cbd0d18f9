"""What else may happen along with training."""

from collections.abc import Mapping
from typing import Any

from narrows.autoencoder import Autoencoder, Loss
from narrows.recorded import Recorded


class Callback(Recorded):
    """Hooks that `fit` calls; override what is needed.

    A callback with state of its own returns it from `state` and takes it back in `restore`, so
    that a resumed run goes on as if it had not stopped.
    """

    def before_step(self, model: Autoencoder, progress: float) -> None:
        """Before each optimiser step; `progress` is the fraction of steps done, in [0, 1)."""

    def after_step(self, model: Autoencoder, loss: Loss) -> None:
        """After each optimiser step, with the loss of its last micro-batch."""

    def after_epoch(self, model: Autoencoder, row: Mapping[str, float]) -> bool:
        """After each epoch, with its figures; True ends training."""
        del model, row
        return False

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as plain JSON values."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state` returned."""
