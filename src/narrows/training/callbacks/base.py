"""What else may happen along with training."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from narrows.autoencoder import Autoencoder, Loss
from narrows.recorded import Recorded
from narrows.training.pack import State


class Callback(Recorded):
    """Hooks that `fit` calls; override what is needed.

    A callback is told of its own rank's steps; what it writes, it writes where it was given a
    folder. A callback with state of its own returns it from `state` and takes it back in
    `restore`, so that a resumed run goes on as if it had not stopped.
    """

    def begin(self, model: Autoencoder, folder: Path | None, /) -> None:
        """Before the first step, also of a resumed run (then before `restore`).

        Args:
            model: on its device.
            folder: of the run; None where nothing is written, as on all ranks but the first.
        """

    def before_step(self, model: Autoencoder, progress: float, /) -> None:
        """Before each optimiser step; `progress` is the fraction of steps done, in [0, 1)."""

    def after_step(self, model: Autoencoder, loss: Loss, /) -> None:
        """After each optimiser step, with its loss.

        Where micro-batches were added up, `loss.latent` is that of the last of them, but for its
        features, which are those of the whole step.
        """

    def after_epoch(self, _model: Autoencoder, _row: Mapping[str, float], /) -> bool:
        """After each epoch, with its figures; True ends training."""
        return False

    def figures(self) -> dict[str, float]:
        """Figures for the row of the epoch that ended just now."""
        return {}

    def advice(self, _validation: Mapping[str, float], /) -> list[str]:
        """Sentences about the finished run, from its figures on validation data."""
        return []

    def evaluating(self, _model: Autoencoder, /) -> AbstractContextManager[None]:
        """Around each evaluation during training: other weights may stand in meanwhile."""
        return nullcontext()

    def finish(self, model: Autoencoder, /) -> None:
        """After the last step, before the prior is fitted: the last word on the weights."""

    def state(self) -> State:
        """What `restore` needs: tensors, numbers and text, in dicts and lists."""
        return {}

    def restore(self, state: State) -> None:
        """Takes back what `state` returned."""
