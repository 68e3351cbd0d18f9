"""Trials in processes: at most so many at a time, each on one thread."""

import multiprocessing
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from reproductions.trial import Outcome, Trial, execute, kept

Report = Callable[[Outcome], None]


class Workers:
    """A crew that lives as long as the `with` block, since importing torch takes seconds.

    With one job everything happens in this process. Other workers end when this process does,
    however it ends: their pipe closes.

    Args:
        root: folder of all trials.
        jobs: processes at a time.
    """

    def __init__(self, root: Path, jobs: int = 1) -> None:
        if jobs < 1:
            raise ValueError(f"expected at least one job, got {jobs}")
        self.root, self.jobs = root, jobs
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._all: list[_Worker] = []

    def __enter__(self) -> "Workers":
        self.root.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._all:
            worker.stop()

    def run(
        self,
        trials: Sequence[Trial],
        report: Report | None = None,
        go_on: Callable[[], bool] = lambda: True,
    ) -> list[Outcome | None]:
        """Outcomes in order; those that are kept are taken as they are.

        Args:
            trials: what to run.
            report: called with each outcome that was not kept, as it comes.
            go_on: asked before each trial; once it says no, what is missing stays None.
        """
        lock, stopped = threading.Lock(), threading.Event()

        def one(trial: Trial) -> Outcome | None:
            known = kept(trial, self.root)
            if known is not None:
                return known
            if stopped.is_set() or not go_on():
                return None
            outcome = self._execute(trial)
            if report is not None:
                with lock:
                    report(outcome)
            return outcome

        if self.jobs == 1:
            return [one(trial) for trial in trials]
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                return list(pool.map(one, trials))
            except BaseException:  # Ctrl-C: what runs may end, nothing new begins
                stopped.set()
                raise

    def _execute(self, trial: Trial) -> Outcome:
        if self.jobs == 1:
            return _on_one_thread(trial, self.root)
        try:
            worker = self._idle.get_nowait()
        except queue.Empty:
            worker = _Worker(self.root)
            self._all.append(worker)
        outcome = worker.execute(trial)
        if worker.process.is_alive():
            self._idle.put(worker)
        return outcome


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, root: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, root), daemon=True)
        self.process.start()
        other.close()  # so that the worker's death is the pipe's end

    def execute(self, trial: Trial) -> Outcome:
        try:
            self.pipe.send(trial)
            return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            text = f"the worker process ended with exit code {self.process.exitcode}"
            return Outcome(trial, {}, 0.0, error=text)

    def stop(self) -> None:
        self.pipe.close()
        self.process.join(timeout=5)
        if self.process.is_alive():
            self.process.terminate()


def _serve(pipe: Connection, root: Path) -> None:
    """A worker's life: one trial after the other until nobody asks."""
    while True:
        try:
            trial = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        pipe.send(_on_one_thread(trial, root))


def _on_one_thread(trial: Trial, root: Path) -> Outcome:
    """Small models gain nothing from a second thread, and rounding depends on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return execute(trial, root)
    finally:
        torch.set_num_threads(before)
