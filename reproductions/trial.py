"""One cached piece of work behind a claim: a function and the arguments it is called with."""

import hashlib
import inspect
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrows import __version__
from narrows.writing import write_json

Plain = str | int | float | bool | None
Result = Mapping[str, float | NDArray[Any]]
"""Figures by name, and small arrays for pictures."""


@dataclass(frozen=True)
class Trial:
    """A call `function(folder, **arguments) -> Result`.

    Attributes:
        function: of a module, by name importable; it may keep what it needs to be resumed (a run
            folder) in `folder`, and must draw all chance from its arguments.
        arguments: plain values; `seed` among them where there is chance.
    """

    function: Callable[..., Result]
    arguments: Mapping[str, Plain] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """A name that changes with version, arguments and the function's own source."""
        source = inspect.getsource(self.function)
        text = json.dumps([__version__, source, dict(self.arguments)], sort_keys=True)
        return f"{self.function.__name__}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        trial: what was run.
        result: numbers by name, arrays included; empty if it failed.
        seconds: wall clock.
        cpu: seconds that the process computed, which other work on the machine does not change.
        error: one sentence if it failed, else None.
    """

    trial: Trial
    result: Result
    seconds: float
    cpu: float = 0.0
    error: str | None = None


def kept(trial: Trial, root: Path) -> Outcome | None:
    """The outcome of a trial that was finished before, None if there is none."""
    path = root / trial.key / "result.json"
    if not path.is_file():
        return None
    content = json.loads(path.read_text())
    result: dict[str, Any] = dict(content["figures"])
    arrays = path.with_name("arrays.npz")
    if arrays.is_file():
        with np.load(arrays, allow_pickle=False) as file:
            result |= {name: file[name] for name in file.files}
    return Outcome(trial, result, content["seconds"], content["cpu"])


def execute(trial: Trial, root: Path) -> Outcome:
    """Runs a trial and keeps its result; a failure is an outcome, too, and is not kept."""
    folder = root / trial.key
    folder.mkdir(parents=True, exist_ok=True)
    began, worked = time.monotonic(), time.process_time()
    try:
        result = trial.function(folder, **trial.arguments)
    except Exception as error:  # one failed trial must not stop the others
        seconds, cpu = time.monotonic() - began, time.process_time() - worked
        text = str(error).strip() or type(error).__name__
        return Outcome(trial, {}, seconds, cpu, f"{type(error).__name__}: {text}")
    seconds, cpu = time.monotonic() - began, time.process_time() - worked
    arrays: dict[str, Any] = {k: v for k, v in result.items() if isinstance(v, np.ndarray)}
    figures = {name: float(v) for name, v in result.items() if not isinstance(v, np.ndarray)}
    if arrays:
        np.savez_compressed(folder / "arrays.npz", allow_pickle=False, **arrays)
    record = {
        "function": f"{trial.function.__module__}.{trial.function.__qualname__}",
        "arguments": dict(trial.arguments),
        "seconds": seconds,
        "cpu": cpu,
        "figures": figures,
    }
    write_json(folder / "result.json", record)  # last: it says that the trial is finished
    return Outcome(trial, {**figures, **arrays}, seconds, cpu)
