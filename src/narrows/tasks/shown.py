"""Long work shows itself: on a terminal a line with the time that is left, elsewhere nothing."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar

SCREEN = threading.Lock()
"""Held by whoever draws on the terminal: what begins meanwhile is part of that."""
Advance = Callable[[float], None]
_EXAMPLES: ContextVar[Advance | None] = ContextVar("examples", default=None)


@contextlib.contextmanager
def shown(what: str, total: float | None = None) -> Iterator[Advance]:
    """Shows how far a block is; the line is gone at its end.

    Args:
        what: is done, in a word or two.
        total: of all that will be done; without it only the time that has gone is shown.

    Yields:
        A function that is called with how much more is done.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    first = os.environ.get("RANK", "0") == "0"  # of those that torchrun started
    if not (console.is_terminal and first) or not SCREEN.acquire(blocking=False):
        yield lambda _: None
        return
    left = [TimeRemainingColumn(), TextColumn("left")] if total else [TimeElapsedColumn()]
    columns = (TextColumn("{task.description}"), BarColumn(), *left)
    try:
        with Progress(*columns, console=console, transient=True) as progress:
            line = progress.add_task(what, total=total)
            yield lambda done: progress.advance(line, done)
    finally:
        SCREEN.release()


@contextlib.contextmanager
def shown_by_examples(what: str, total: float) -> Iterator[None]:
    """Shows how far a block is by the examples that the library goes through in it."""
    with shown(what, total) as advance:
        token = _EXAMPLES.set(advance)
        try:
            yield
        finally:
            _EXAMPLES.reset(token)


def examples(count: float) -> None:
    """So many more examples are done; does nothing where nobody shows them."""
    if (advance := _EXAMPLES.get()) is not None:
        advance(count)
