"""Many runs as processes of their own: cached, resumable, failing one by one."""

import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from narrows import __version__
from narrows.autoencoder import Autoencoder
from narrows.training.run import write_json


@dataclass(frozen=True)
class Job:
    """One training run of a comparison.

    Attributes:
        label: of the curve or table row that it belongs to.
        recipe: name or file, as `narrows train` takes it.
        recipe_text: the recipe's content, so that editing it makes another job.
        data: as `narrows.data.load` takes it.
        seed: of weights, batch order and draws.
        settings: further arguments by name, `fit.epochs` and the like.
        point: what a sweep varied, by argument; empty without a sweep.
    """

    label: str
    recipe: str
    recipe_text: str
    data: str
    seed: int
    settings: Mapping[str, str] = field(default_factory=dict)
    point: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """A name that changes with anything that changes the result."""
        parts = [self.recipe_text, self.data, self.seed, dict(self.settings), dict(self.point)]
        text = json.dumps([__version__, *parts], sort_keys=True)
        return f"{self.label}-seed{self.seed}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"

    def arguments(self, folder: Path) -> list[str]:
        """The command that trains it, without `narrows`."""
        values = {**self.settings, **self.point, "fit.seed": str(self.seed)}
        options = [word for name, value in values.items() for word in (f"--{name}", value)]
        if _resumable(folder):
            return ["train", "--resume", str(folder)]
        return ["train", self.recipe, "--data", self.data, "--out", str(folder), *options]


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        job: the job.
        folder: its run folder.
        seconds: wall-clock of the whole process, the last one if it was resumed.
        peak_memory: of that process, MiB.
        error: the last line that it printed if it failed, else None.
        parameters: that the model learned.
        processor_seconds: of all its threads in that process: what it cost, whatever else the
            machine did; NaN where it was not taken.
    """

    job: Job
    folder: Path
    seconds: float
    peak_memory: float
    error: str | None = None
    parameters: int = 0
    processor_seconds: float = math.nan


def run(
    jobs: Sequence[Job],
    out: Path,
    workers: int = 1,
    report: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Runs what is missing and returns the outcomes of all, in order.

    Finished runs are taken as they are; a run that was stopped is resumed; a failed one is tried
    again, and stops no other.

    Args:
        jobs: what to run.
        out: folder of all runs.
        workers: processes at a time; they share the cores.
        report: called with each outcome as it comes.
    """
    out.mkdir(parents=True, exist_ok=True)
    threads = threads_each(workers)
    with ThreadPoolExecutor(workers) as pool:
        futures = {pool.submit(outcome, job, out / job.key, threads): job for job in jobs}
        found: dict[str, Outcome] = {}
        for future in as_completed(futures):
            found[futures[future].key] = future.result()
            if report is not None:
                report(found[futures[future].key])
    return [found[job.key] for job in jobs]


def threads_each(workers: int) -> int:
    """Threads of each of several processes: what OMP_NUM_THREADS asks for, or a share of the cores.

    On a busy machine more threads than there is room for wait for each other most of the time.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return (
        int(asked) if asked.isdigit() and int(asked) else max(1, (os.cpu_count() or 1) // workers)
    )


def outcome(job: Job, folder: Path, threads: int) -> Outcome:
    """Takes a finished run as it is; trains, or goes on with, any other."""
    record = folder / "job.json"
    if record.is_file() and (folder / "metrics.json").is_file():
        known = json.loads(record.read_text())
        return Outcome(job, folder, **{name: known[name] for name in _COST if name in known})
    command = job.arguments(folder)
    if folder.exists() and not _resumable(folder):
        shutil.rmtree(folder)  # named by the job's own hash: nobody else's
    cost, code, last = _process(command, threads)
    if code:
        return Outcome(job, folder, **cost, error=last or f"exit code {code}")
    kept = {**cost, "parameters": _parameters(folder)}
    write_json(record, {**kept, "seed": job.seed, "command": command})
    return Outcome(job, folder, **kept)


_COST = ("seconds", "peak_memory", "processor_seconds", "parameters")


def _process(arguments: Sequence[str], threads: int) -> tuple[dict[str, Any], int, str]:
    """What a `narrows` process cost (as in `Outcome`), its exit code and its last line."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "narrows.compare.child", *arguments],
        env=environment,
        stdin=subprocess.PIPE,  # held open: its end tells the child that we are gone
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    with process.stdin, process.stderr:
        lines = [line.strip() for line in process.stderr if line.strip()]
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    per_mib = 1024 if sys.platform != "darwin" else 1024**2  # KiB on Linux, bytes on macOS
    cost = {
        "seconds": time.monotonic() - began,
        "peak_memory": usage.ru_maxrss / per_mib,
        "processor_seconds": usage.ru_utime + usage.ru_stime,
    }
    return cost, process.returncode, lines[-1] if lines else ""


def _resumable(folder: Path) -> bool:
    """Whether there is a checkpoint to go on from.

    What stopped before the first one starts anew, and so does what stopped after the last: it
    has its figures already, but nobody knows what it cost.
    """
    return any((folder / "checkpoints").glob("*")) and not (folder / "metrics.json").exists()


def figures(outcome: Outcome) -> dict[str, Any]:
    """Test figures of a finished job, with what it cost."""
    content = json.loads((outcome.folder / "metrics.json").read_text())
    return {
        **content["test"],
        **{name: getattr(outcome, name) for name in _COST},
    }


def _parameters(folder: Path) -> int:
    """Numbers that training moved by gradient."""
    return sum(part.numel() for part in Autoencoder.load(folder).parameters())
