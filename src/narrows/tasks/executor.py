"""Many tasks, each run once: what every executor does, and the one for this machine."""

import contextlib
import dataclasses
import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from narrows.saving.trust import VARIABLE, trusted
from narrows.saving.writing import sole_writer
from narrows.tasks.shown import Advance, shown
from narrows.tasks.task import Outcome, T, execute, keep, kept

Report = Callable[[Outcome[T]], None]


class Executor(ABC):
    """Runs tasks, a few at a time; use it in a `with` block.

    Args:
        workers: tasks at a time.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"expected at least one worker, got {workers}")
        self.workers = workers
        self.trust: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """Ends whatever was started."""

    @property
    def at_once(self) -> int:
        """How many tasks make progress at a time."""
        return self.workers

    @abstractmethod
    def compute(self, task: T, root: Path) -> Outcome[T]:
        """Runs one task, and keeps its result if it did not fail."""

    def run(
        self,
        tasks: Sequence[T],
        root: Path,
        *,
        report: Report[T] | None = None,
        go_on: Callable[[], bool] = lambda: True,
        shared: bool = False,
        what: str = "runs",
    ) -> list[Outcome[T]]:
        """Runs what is missing and returns the outcomes in order; a failed task stops no other.

        Args:
            tasks: what to run; the result of one that was finished earlier is taken as it is.
            root: folder of all tasks.
            report: called with each outcome as it comes.
            go_on: asked before a task that is to be run; False leaves it out of the outcomes.
            shared: other processes may run other tasks in this folder meanwhile.
            what: the name of the tasks, on a terminal.

        Raises:
            FolderInUseError: if another process runs tasks in this folder, and it is not shared.
        """
        self.trust = trusted()  # here, as threads do not see what a `with` block trusts
        with (
            contextlib.nullcontext() if shared else sole_writer(root),
            shown(what, len(tasks)) as advance,
        ):
            return self._each(tasks, root, report, go_on, advance)

    def _each(
        self,
        tasks: Sequence[T],
        root: Path,
        report: Report[T] | None,
        go_on: Callable[[], bool],
        advance: Advance,
    ) -> list[Outcome[T]]:
        lock, stopped = threading.Lock(), threading.Event()

        def one(task: T) -> Outcome[T] | None:
            outcome = kept(task, root)
            if outcome is None:
                if stopped.is_set() or not go_on():
                    return None
                outcome = self.compute(task, root)
            with lock:
                advance(1)
                if report is not None:
                    report(outcome)
            return outcome

        if self.workers == 1:
            return [outcome for outcome in map(one, tasks) if outcome]
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                return [outcome for outcome in pool.map(one, tasks) if outcome]
            except BaseException:  # Ctrl-C: what runs may end, nothing new begins
                stopped.set()
                raise


class Local(Executor):
    """Runs tasks on this machine.

    One worker without `fresh` is this process itself. Others are processes that serve one task
    after the other, since importing torch takes seconds; they end when this one does, however it
    ends, as their pipe closes.

    Args:
        workers: processes at a time.
        threads: of each; by default a fair share of the cores, or OMP_NUM_THREADS.
        fresh: a new process for every task, so that its cost is its own, start-up included.
    """

    def __init__(self, workers: int = 1, *, threads: int | None = None, fresh: bool = False):
        super().__init__(workers)
        self.threads: int | None = threads
        self.fresh: bool = fresh
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._all: list[_Worker] = []

    def __exit__(self, *_: object) -> None:
        for worker in self._all:
            worker.end()

    def compute(self, task: T, root: Path) -> Outcome[T]:
        """Runs one task, and keeps its result if it did not fail."""
        if self.fresh:
            return alone(task, root, self.threads or threads_each(self.workers), self.trust)
        if self.workers == 1:
            with _on_threads(self.threads):
                return _kept_unless_failed(execute(task, root))
        try:
            worker = self._idle.get_nowait()
        except queue.Empty:
            worker = _Worker(root, self.threads or threads_each(self.workers), self.trust)
            self._all.append(worker)
        outcome = worker.run(task, root)
        if worker.process.returncode is None:
            self._idle.put(worker)
        return _kept_unless_failed(outcome)


def alone(task: T, root: Path, threads: int, trust: Sequence[str] = ()) -> Outcome[T]:
    """Runs a task in a process of its own, whose whole time is the task's, and keeps the result."""
    worker = _Worker(root, threads, trust)
    outcome = worker.run(task, root)
    seconds, worked = worker.end()
    cost = dataclasses.replace(outcome.cost, seconds=seconds, processor_seconds=worked)
    return _kept_unless_failed(dataclasses.replace(outcome, cost=cost))


def threads_each(workers: int) -> int:
    """Threads of each of several processes: what OMP_NUM_THREADS asks for, or a share of the cores.

    On a busy machine more threads than there is room for wait for each other most of the time.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    share = max(1, (os.cpu_count() or 1) // workers)
    return int(asked) if asked.isdigit() and int(asked) else share


def _kept_unless_failed(outcome: Outcome[T]) -> Outcome[T]:
    if outcome.error is None:
        keep(outcome)
    return outcome


@contextlib.contextmanager
def _on_threads(threads: int | None) -> Iterator[None]:
    """Sets the threads of torch in this process for a while; None leaves them as they are."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Worker:
    """A process of `narrows.tasks.worker` and the pipes to it."""

    def __init__(self, root: Path, threads: int, trust: Sequence[str]) -> None:
        path = os.pathsep.join(part or os.getcwd() for part in sys.path)
        self.began, self.times = time.monotonic(), (0.0, 0.0)
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "narrows.tasks.worker", str(root)],
            env={
                **os.environ,
                "OMP_NUM_THREADS": str(threads),
                "PYTHONPATH": path,
                VARIABLE: ",".join(trust),
            },
            stdin=subprocess.PIPE,  # held open: its end tells the process that we are gone
            stdout=subprocess.PIPE,
            stderr=self.log,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.outgoing, self.incoming = self.process.stdin, self.process.stdout

    def run(self, task: T, root: Path) -> Outcome[T]:
        """The outcome that the process sends, or that it died."""
        try:
            pickle.dump(pickle.dumps((task, root)), self.outgoing)
            self.outgoing.flush()
            answer = pickle.load(self.incoming)
        except (EOFError, OSError):
            answer = self._last_words()
        if isinstance(answer, str):
            return Outcome(task, task.folder(root), error=answer)
        return dataclasses.replace(answer, task=task)

    def _last_words(self) -> str:
        self.log.seek(0)
        said = self.log.read().decode(errors="replace").strip().splitlines()
        self.end()
        code = f"the process ended with exit code {self.process.returncode}"
        return f"{code}: {said[-1]}" if said else code

    def end(self) -> tuple[float, float]:
        """Ends the process, if that has not ended by itself; its wall-clock and processor time."""
        if self.process.returncode is None:
            with contextlib.suppress(OSError):  # of what was not yet sent to a dead process
                self.outgoing.close()
            _, status, usage = os.wait4(self.process.pid, 0)
            self.process.returncode = os.waitstatus_to_exitcode(status)
            self.incoming.close()
            self.log.close()
            self.times = (time.monotonic() - self.began, usage.ru_utime + usage.ru_stime)
        return self.times
