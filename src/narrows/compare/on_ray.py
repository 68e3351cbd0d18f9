"""The runs of a comparison on a Ray cluster, or on a Ray of this machine."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from narrows.compare import tasks as jobs
from narrows.compare.tasks import Job, Outcome

HERE = "local"
"""Address that starts a Ray on this machine alone."""


def run(
    plan: Sequence[Job],
    out: Path,
    address: str = HERE,
    report: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Runs what is missing as Ray tasks, one CPU each, and returns the outcomes in order.

    Each task trains in a process of its own, as on one machine, and writes to `out`, which has
    to be on a file system that all machines share. A task that is lost with its machine is a
    failed run: the same command later goes on with it.

    Args:
        plan: what to run.
        out: folder of all runs.
        address: of a cluster, such as "auto" or "ray://HOST:10001"; "local" starts one here.
        report: called with each outcome as it comes.

    Raises:
        RuntimeError: if Ray is not installed.
        ConnectionError: if there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise RuntimeError(
            "--ray needs Ray, which is not installed: pip install 'narrows[ray]'; without it, "
            "--jobs N runs N processes on this machine"
        ) from None
    out.mkdir(parents=True, exist_ok=True)
    where: dict[str, Any] = {"include_dashboard": False} if address == HERE else {}
    with ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **where):
        task = ray.remote(num_cpus=1, max_retries=0)(jobs.outcome)
        pending = {task.remote(job, (out / job.key).resolve(), 1): job for job in plan}
        found: dict[str, Outcome] = {}
        while pending:
            (done, *_), _ = ray.wait(list(pending), num_returns=1)
            job = pending.pop(done)
            found[job.key] = _result(ray, done, job, out / job.key)
            if report is not None:
                report(found[job.key])
    return [found[job.key] for job in plan]


def _result(ray: object, reference: object, job: Job, folder: Path) -> Outcome:
    """The task's outcome; a failure where the machine was lost or its files are not here."""
    try:
        outcome = ray.get(reference)  # pyright: ignore[reportAttributeAccessIssue]
    except Exception as error:  # whatever the cluster's trouble, the other runs go on
        last = str(error).strip().splitlines()
        return Outcome(job, folder, 0.0, 0.0, last[-1] if last else type(error).__name__)
    if outcome.error is None and not (folder / "metrics.json").is_file():
        said = f"{folder} is not on this machine: --out must be on a file system that all share"
        return Outcome(job, folder, outcome.seconds, outcome.peak_memory, said)
    return outcome
