"""Ctrl-C finishes the step that is being taken; a second one does not wait."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

import torch
from lightning_fabric import Fabric


class TrainingInterruptedError(KeyboardInterrupt):
    """Training was stopped by a signal, after a whole step; its message says how to go on."""


class Interruption:
    """Turns SIGINT and SIGTERM into a request that the loop asks for between steps.

    SLURM and container hosts send SIGTERM before they kill. The handlers of before are back
    after the `with` block; outside the main thread, where Python allows none, nothing changes.
    """

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.signalled = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def asked(self) -> bool:
        """Whether to stop now: the same answer on every rank, which must stop together."""
        if self.fabric.world_size == 1:
            return self.signalled
        vote = torch.tensor(float(self.signalled), device=self.fabric.device)
        return bool(self.fabric.all_reduce(vote, reduce_op="sum") > 0)  # pyright: ignore

    def _note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.signalled = True
        self._restore()  # a second signal acts as it always does

    def _restore(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)
