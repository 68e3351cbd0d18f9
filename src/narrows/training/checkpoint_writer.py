"""When to write checkpoints, what is best, and whether a run may go on from one."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.recorded import Recorded
from narrows.training.checkpoint import (
    BEST,
    LAST,
    CheckpointError,
    checkpoint_path,
    load_checkpoint,
    save_checkpoint,
)
from narrows.training.pack import State
from narrows.training.sharding import gathered


@dataclass(frozen=True)
class Checkpoints(Recorded):
    """How often a run's state is written, and by what its best model is chosen.

    Args:
        seconds: least time between two checkpoints: at most so much work is lost. One is
            written at the first step after it, at the end of training, and on Ctrl-C.
        best: column of `metrics.jsonl` whose smallest value marks the best epoch; the model's
            weights of that epoch are kept as `checkpoints/best.safetensors`. A minus sign before
            the name asks for the largest.
        any_threads: whether a run may be resumed with another number of threads, which changes
            the last bits of its numbers.
        changed_data: whether a run may be resumed on data of other content or another number of
            examples.
        any_ranks: whether a run may be resumed by another number of ranks (and threads). Its steps
            must have as many examples as before, `batch_size x ranks x accumulate`: it then goes on
            with the same batches, up to rounding, and with other random draws.

    What was accepted stands in the run's `metrics.json` and on its page.
    """

    seconds: float = 30.0
    best: str = "validation_loss"
    _: KW_ONLY
    any_threads: bool = False
    changed_data: bool = False
    any_ranks: bool = False

    def __post_init__(self) -> None:
        if not self.seconds >= 0:
            raise ValueError(f"seconds between checkpoints must be at least 0, got {self.seconds}")
        if not self.best.lstrip("-"):
            raise ValueError("best must name a column of metrics.jsonl, such as validation_loss")

    def value(self, row: Mapping[str, float]) -> float:
        """What is to be small in an epoch's row.

        Raises:
            ValueError: if the row has no such column.
        """
        name = self.best.lstrip("-")
        if name not in row:
            raise ValueError(
                f"there is no measure {name!r} to choose the best epoch by; this run has "
                f"{', '.join(row)}"
            )
        value = -row[name] if self.best.startswith("-") else row[name]
        return value if not math.isnan(value) else math.inf


_EXAMPLES = "examples in a step"
_WAYS = {
    "threads": "; --any-threads (Checkpoints(any_threads=True)) accepts it",
    "ranks": "; --any-ranks (Checkpoints(any_ranks=True)) accepts it, if batch_size x ranks x "
    "accumulate stays the same",
    _EXAMPLES: "; choose batch_size x ranks x accumulate as it was (--batch-size)",
    "data": "; --accept-changed-data (Checkpoints(changed_data=True)) accepts it",
}
"""How to accept what has changed, by the first word of a setting's path."""


class CheckpointWriter:
    """Writes one run's checkpoints; without a folder it does nothing.

    Args:
        folder: of the run, or None.
        policy: when, and what is best.
        state: gives everything that a resumed run needs, but what the writer itself knows.
        writes: False on all ranks but the first, which only read.
        together: where the state lies in shards, gives every rank the first rank's answer to
            whether a thing is due; then all of them gather it, for the first to write.
    """

    def __init__(
        self,
        folder: Path | None,
        policy: Checkpoints,
        state: Callable[[], State],
        writes: bool = True,
        together: Callable[[bool], bool] | None = None,
    ) -> None:
        self.folder: Path | None = None if folder is None else folder / "checkpoints"
        self.policy: Checkpoints = policy
        self._state = state
        self.writes: bool = writes and folder is not None
        self.together = together if folder is not None else None
        self.best: float = math.inf
        self._unwritten: State | None = None
        self._written = time.monotonic()

    def save_if_due(self) -> None:
        """Writes a checkpoint if it is time."""
        if self._agreed(self.writes and time.monotonic() - self._written >= self.policy.seconds):
            self.save()

    def compare(self, model: Autoencoder, row: Mapping[str, float]) -> None:
        """Copies the weights that were measured if they are the best; `save` writes them."""
        value = self.policy.value(row)
        if not self._agreed(self.writes and value < self.best):
            return
        self.best = value
        # A copy: the next step changes the weights in place.
        weights = {name: _copy(tensor) for name, tensor in model.state_dict().items()}
        self._unwritten = {"model": gathered(weights), "row": dict(row)}

    def save(self) -> None:
        """Writes the best weights, if they are new, and the state, now."""
        if self.folder is None or not (self.writes or self.together):
            return
        state = gathered({**self._state(), "best": self.best})
        if self.writes:
            if self._unwritten is not None:
                save_checkpoint(self.folder, self._unwritten, BEST)
            save_checkpoint(self.folder, state)
        self._unwritten = None
        self._written = time.monotonic()

    def load(self, settings: Mapping[str, Any], which: str = LAST) -> State | None:
        """The state to go on from; None if the run was stopped before its first checkpoint.

        Raises:
            CheckpointError: if the checkpoint is damaged.
            ValueError: if the run was started with other settings, which are named.
        """
        if self.folder is None:
            return None
        if which == LAST and not checkpoint_path(self.folder).exists():
            if checkpoint_path(self.folder, "previous").exists():
                raise CheckpointError(
                    f"{checkpoint_path(self.folder)} is gone, but 'previous' is there: ask for it"
                )
            return None
        state = load_checkpoint(self.folder, which)
        before = dict(state["settings"])
        if self.policy.any_threads or self.policy.any_ranks:
            before["threads"] = settings["threads"]
        if self.policy.changed_data:
            before["data"] = settings["data"]
        if self.policy.any_ranks:
            before, settings = in_steps(before), in_steps(settings)
        difference = first_difference(before, settings)
        if difference is not None:
            name, old, now = difference
            raise ValueError(
                f"this run was started with {name} = {old!r}, now it is {now!r}; resume it "
                "with the settings in its config.yaml, or start another run"
                + _WAYS.get(name.partition(".")[0], "")
            )
        self.best = state["best"]
        return state

    def _agreed(self, due: bool) -> bool:
        return due if self.together is None else self.together(due)


def changes(before: Mapping[str, Any], now: Mapping[str, Any], *, epoch: int) -> list[str]:
    """What has been accepted when a run was resumed in an epoch, in sentences."""
    return [
        f"resumed in epoch {epoch} with other {name}: {now[name]}, before {before[name]}"
        for name in _WAYS
        if before.get(name) != now.get(name)
    ]


def in_steps(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a run with the examples in a step in place of how ranks share them."""
    kept, fit = dict(settings), dict(settings["fit"])
    engine = dict(fit["engine"])
    examples = kept.pop("ranks") * fit.pop("batch_size") * engine.pop("accumulate")
    for name in ("devices", "nodes"):
        del engine[name]
    return {**kept, "fit": {**fit, "engine": engine}, _EXAMPLES: examples}


def first_difference(
    before: object, now: object, name: str = ""
) -> tuple[str, object, object] | None:
    """Path and both values of the first place where two trees of plain values differ."""
    old, new = _children(before), _children(now)
    unlike = not isinstance(before, Mapping) and len(old or ()) != len(new or ())
    if old is None or new is None or unlike:
        return None if before == now else (name, before, now)
    pairs = ((key, old.get(key), new.get(key)) for key in {**old, **new})
    found = (first_difference(a, b, f"{name}.{key}" if name else str(key)) for key, a, b in pairs)
    return next((difference for difference in found if difference), None)


def _children(value: object) -> Mapping[object, object] | None:
    if isinstance(value, Mapping):
        return value
    return dict(enumerate(value)) if isinstance(value, (list, tuple)) else None


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().clone()
