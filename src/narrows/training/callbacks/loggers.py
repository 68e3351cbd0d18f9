"""Further places to write an epoch's figures to; `metrics.jsonl` is always written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from narrows.autoencoder import Autoencoder
from narrows.training.callbacks.base import Callback


class TensorBoard(Callback):
    """Writes every figure of an epoch to TensorBoard event files (extra: tensorboard).

    Args:
        folder: of the event files; by default `tensorboard/` in the run's folder.

    Raises:
        ModuleNotFoundError: when the run begins, if tensorboard is not installed.
        ValueError: if there is neither a folder nor a run's folder.
    """

    def __init__(self, folder: str | None = None) -> None:
        self.folder = folder
        self._writer: Any = None

    def begin(self, _model: Autoencoder, folder: Path | None, /) -> None:
        """Opens the event files on the rank that writes."""
        self._writer = None
        if folder is None and self.folder is None:
            return
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                "TensorBoard logging needs tensorboard: pip install 'narrows[tensorboard]'"
            ) from None
        place = self.folder or str((folder or Path()) / "tensorboard")
        self._writer = SummaryWriter(place)

    def after_epoch(self, _model: Autoencoder, row: Mapping[str, float], /) -> bool:
        """Writes the row under its epoch."""
        if self._writer is not None:
            for name, value in row.items():
                if name != "epoch":
                    self._writer.add_scalar(name, value, int(row["epoch"]))
            self._writer.flush()
        return False

    def finish(self, _model: Autoencoder, /) -> None:
        """Closes the files."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class WeightsAndBiases(Callback):
    """Sends every figure of an epoch to Weights & Biases (extra: wandb).

    Args:
        project: name of the project there.
        mode: "online", or "offline" to keep the figures in the run's folder.

    Raises:
        ModuleNotFoundError: when the run begins, if wandb is not installed.
    """

    def __init__(self, project: str = "narrows", mode: str = "offline") -> None:
        self.project: str = project
        self.mode: str = mode
        self._run: Any = None

    def begin(self, _model: Autoencoder, folder: Path | None, /) -> None:
        """Starts a run there, on the rank that writes."""
        self._run = None
        if folder is None:
            return
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                "logging to Weights & Biases needs wandb: pip install 'narrows[wandb]'"
            ) from None
        self._run = wandb.init(
            project=self.project, name=folder.name, dir=str(folder), mode=self.mode
        )

    def after_epoch(self, _model: Autoencoder, row: Mapping[str, float], /) -> bool:
        """Sends the row."""
        if self._run is not None:
            self._run.log(dict(row), step=int(row["epoch"]))
        return False

    def finish(self, _model: Autoencoder, /) -> None:
        """Ends the run there."""
        if self._run is not None:
            self._run.finish()
            self._run = None
