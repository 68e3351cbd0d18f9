"""A computation with a key, how it ended, and its result as it is kept."""

import hashlib
import json
import logging
import resource
import sys
import time
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from narrows.saving.writing import (
    FolderInUseError,
    check_keys,
    file_checksum,
    read_json,
    sole_writer,
    whole,
    write_json,
)
from narrows.tasks.source import source_hash

Result = Mapping[str, float | np.ndarray]
"""Figures by name, and small arrays."""
RECORD = "result.json"
PATIENCE = 30.0
"""Seconds that a task waits for a process that works in its folder."""
_KEYS = ("task", "configuration", "source", "cost", "figures", "files")


class Task(ABC):
    """A computation in a folder of its own.

    A subclass is a frozen dataclass of a module that can be imported: it is sent to other
    processes. It draws all chance from its configuration, and may keep in its folder what it
    needs to be resumed.
    """

    @property
    @abstractmethod
    def configuration(self) -> Mapping[str, object]:
        """Plain data on which the result depends."""

    @abstractmethod
    def run(self, folder: Path) -> Result:
        """Computes the result."""

    @property
    def name(self) -> str:
        """What the name of the folder begins with."""
        return type(self).__name__.lower()

    @property
    def imports(self) -> tuple[str, ...]:
        """Dotted names of what `run` imports as the configuration says, such as class paths."""
        return ()

    @property
    def within(self) -> str:
        """Folder below the root in which this task's own is made."""
        return ""

    @property
    def files(self) -> Sequence[str]:
        """What belongs to the result, below the folder: if it is damaged, the task is run anew."""
        return ()

    @property
    def source(self) -> str:
        """Hash of the source that `run` executes."""
        return source_hash(type(self).__module__, type(self).__name__, self.imports)

    @cached_property
    def key(self) -> str:
        """A name that changes with the configuration and with the source."""
        text = json.dumps([self.configuration, self.source], sort_keys=True)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def folder(self, root: Path) -> Path:
        """Where the task works and its result is kept."""
        return root / self.within / self.key


@dataclass(frozen=True)
class Call(Task):
    """The call `function(folder, **arguments)`.

    Attributes:
        function: of a module, by name importable.
        arguments: plain values.
    """

    function: Callable[..., Result]
    arguments: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)

    @property
    def configuration(self) -> Mapping[str, object]:
        """The arguments."""
        return self.arguments

    @property
    def name(self) -> str:
        """The function's."""
        return self.function.__name__

    @property
    def source(self) -> str:
        """Hash of the source that the function executes."""
        return source_hash(self.function.__module__, self.function.__qualname__, self.imports)

    def run(self, folder: Path) -> Result:
        """Calls the function."""
        return self.function(folder, **self.arguments)


T = TypeVar("T", bound=Task)
T_co = TypeVar("T_co", bound=Task, covariant=True)


@dataclass(frozen=True)
class Cost:
    """What a task took.

    Attributes:
        seconds: wall-clock.
        processor_seconds: of all threads: other work on the machine does not change it.
        peak_memory: of the process, MiB; where it ran other tasks before, the peak of all.
    """

    seconds: float = 0.0
    processor_seconds: float = 0.0
    peak_memory: float = 0.0


@dataclass(frozen=True)
class Outcome(Generic[T_co]):
    """How a task ended.

    Attributes:
        task: what was run.
        folder: where.
        result: figures and arrays; empty if it failed.
        cost: of the run that finished, if it was resumed of the last part.
        error: one sentence if it failed, else None.
        reused: True if the result was kept from an earlier run.
    """

    task: T_co
    folder: Path
    result: Result = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)
    error: str | None = None
    reused: bool = False

    @property
    def figures(self) -> dict[str, float]:
        """The numbers of the result, without the arrays."""
        return {name: v for name, v in self.result.items() if not isinstance(v, np.ndarray)}


def execute(task: T, root: Path) -> Outcome[T]:
    """Runs a task in this process and keeps nothing; an exception is an outcome, too.

    It has its folder for itself meanwhile. Another process that works there is waited for a
    little: where a machine was lost, its processes may outlive it for a moment.
    """
    folder = task.folder(root)
    began, worked = time.monotonic(), time.process_time()
    result, error = {}, None
    try:
        with sole_writer(folder, patience=PATIENCE):
            result = {name: _plain(value) for name, value in task.run(folder).items()}
    except Exception as problem:  # one failed task must not stop the others
        kind = (
            ""
            if type(problem) in (RuntimeError, FolderInUseError)
            else f"{type(problem).__name__}: "
        )
        error = kind + (str(problem).strip() or "no reason given")
    cost = Cost(time.monotonic() - began, time.process_time() - worked, _peak_memory())
    return Outcome(task, folder, result, cost, error)


def _peak_memory() -> float:
    """Of this process, MiB."""
    status = Path("/proc/self/status")
    if status.is_file():  # ru_maxrss counts what the starter held when it started us, too
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1024 if sys.platform != "darwin" else 1024**2)  # there in bytes


def keep(outcome: Outcome[T]) -> None:
    """Writes a finished result into its folder; the record last, as it says that all is there."""
    arrays = {name: v for name, v in outcome.result.items() if isinstance(v, np.ndarray)}
    if arrays:
        with whole(outcome.folder / "arrays.npz") as partial:
            np.savez_compressed(partial, allow_pickle=False, **arrays)
    task = outcome.task
    record = {
        "task": task.name,
        "configuration": dict(task.configuration),
        "source": task.source,
        "cost": asdict(outcome.cost),
        "figures": outcome.figures,
        "files": _checksums(outcome.folder, [*(["arrays.npz"] if arrays else []), *task.files]),
    }
    write_json(outcome.folder / RECORD, record)


def kept(task: T, root: Path) -> Outcome[T] | None:
    """The outcome of a task that was finished earlier, None if there is none.

    One whose files are damaged counts as none, which is logged: the task is then run anew.
    """
    folder = task.folder(root)
    if not (folder / RECORD).is_file():
        return None
    try:
        return _read(task, folder)
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        logging.getLogger(__name__).warning("%s; it is made anew", error)
        return None


def _read(task: T, folder: Path) -> Outcome[T]:
    """A kept outcome; raises an error if it is not as it was written."""
    record = read_json(folder / RECORD, "it is not used")
    check_keys(record, folder / RECORD, "it is not used", needed=_KEYS)
    for name, checksum in record["files"].items():
        if not (folder / name).is_file() or file_checksum(folder / name) != checksum:
            raise ValueError(f"{folder / name} is gone or damaged (its checksum differs)")
    result = dict(record["figures"])
    if "arrays.npz" in record["files"]:
        with np.load(folder / "arrays.npz", allow_pickle=False) as file:
            result |= {name: file[name] for name in file.files}
    return Outcome(task, folder, result, Cost(**record["cost"]), reused=True)


def _checksums(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Of the files that are there."""
    return {name: file_checksum(folder / name) for name in names if (folder / name).is_file()}


def _plain(value: float | np.ndarray) -> float | np.ndarray:
    """An array, or a number that JSON knows."""
    if isinstance(value, (np.ndarray, int, float)):
        return value
    return float(value)
