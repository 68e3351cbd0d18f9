"""A live line while training, and an orderly end on Ctrl-C."""

import signal
import sys
import threading
import time
from collections.abc import Mapping
from types import FrameType, TracebackType
from typing import Any, Self

import torch
from lightning_fabric import Fabric
from rich.console import Console
from rich.live import Live
from rich.text import Text

from narrows.tasks.shown import SCREEN

# The first of these that a bottleneck's summary holds says most about its code.
_CODE_MEASURES = ("active_units", "perplexity", "l0")


class Progress:
    """Shows one row of figures per epoch: replaced in a terminal, printed line by line else.

    Args:
        epochs: how many there will be.
        start: epochs done before (a resumed run).
        show: False keeps silent.
        lines: how many plain lines to print at most.
    """

    def __init__(self, epochs: int, start: int = 0, show: bool = True, lines: int = 10) -> None:
        self.console: Console = Console(file=sys.stderr)
        self.epochs: int = epochs
        self.start: int = start
        self.show: bool = show
        self.every: int = max(1, round(epochs / lines))
        self.began: float = time.monotonic()
        self.live: Live | None = (
            Live(console=self.console, refresh_per_second=4)
            if show and self.console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        if self.live and not SCREEN.acquire(blocking=False):
            self.live = None
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.live:
            self.live.stop()
            SCREEN.release()

    def epoch(self, row: Mapping[str, float]) -> None:
        """Shows the figures of a finished epoch."""
        if not self.show:
            return
        done = int(row["epoch"])
        left = (time.monotonic() - self.began) / (done - self.start) * (self.epochs - done)
        text = f"{line(row, self.epochs)}  {left:.0f} s left"
        if self.live:
            self.live.update(Text(text, no_wrap=True, overflow="ellipsis"))
        elif done % self.every == 0 or done == self.epochs:
            print(text, file=sys.stderr, flush=True)


def line(row: Mapping[str, float], epochs: int) -> str:
    """One epoch as text: loss in nats, distortion as NMSE, rate in bits per example."""
    parts = [f"epoch {int(row['epoch'])}/{epochs}", f"loss {row['loss']:.2f} nats"]
    if "validation_nmse" in row:
        parts.append(f"nmse {row['validation_nmse']:.4f}")
    if "validation_bits_per_example" in row:
        parts.append(f"{row['validation_bits_per_example']:.1f} bits")
    if "asked_bits_per_dimension" in row and "validation_bits_per_dimension" in row:
        asked, found = row["asked_bits_per_dimension"], row["validation_bits_per_dimension"]
        parts.append(f"{found:.3f} bits per dimension, asked {asked:g}")
    for name in _CODE_MEASURES:
        if f"validation_{name}" in row:
            parts.append(f"{name.replace('_', ' ')} {row[f'validation_{name}']:.1f}")
            break
    parts.append(f"{row['examples_per_second']:.0f} examples/s")
    return "  ".join(parts)


class TrainingInterruptedError(KeyboardInterrupt):
    """Training was stopped by a signal, after a whole step; its message says how to go on."""


class Interruption:
    """Turns SIGINT and SIGTERM into a request that the loop asks for between steps.

    SLURM and container hosts send SIGTERM before they kill. The handlers of before are back
    after the `with` block; outside the main thread, where Python allows none, nothing changes.
    """

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.signalled: bool = False
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

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.signalled = True
        self._restore()  # a second signal acts as it always does

    def _restore(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)
