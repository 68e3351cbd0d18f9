"""Tasks on a Ray cluster, or on a Ray of this machine."""

import logging
import os
from pathlib import Path
from types import ModuleType
from typing import Self

from narrows.tasks.executor import Executor, alone
from narrows.tasks.task import RECORD, Outcome, T

HERE = "local"
"""Address that starts a Ray on this machine alone."""


class OnRay(Executor):
    """Runs tasks on a Ray, each on one core in a process of its own.

    The folder of all tasks has to be on a file system that all machines share. A task that is
    lost with its machine has failed: running it again goes on with it.

    Args:
        address: of a cluster, such as "auto" or "ray://HOST:10001"; "local" starts one here.
        workers: tasks handed over at a time; Ray begins as many of them as it has cores.

    Raises:
        RuntimeError: if Ray is not installed.
    """

    def __init__(self, address: str = HERE, *, workers: int = 256) -> None:
        super().__init__(workers)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise RuntimeError(
                "--ray needs Ray, which is not installed: pip install 'narrows[ray]'; without it, "
                "--jobs N runs N processes on this machine"
            ) from None
        self.address: str = address
        self.ray: ModuleType = ray  # typed loosely: checks must not depend on whether it is here

    def __enter__(self) -> Self:
        """Connects.

        Raises:
            ConnectionError: if there is no cluster at the address.
        """
        here = {"include_dashboard": False} if self.address == HERE else {}
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        self.ray.init(address=self.address, **quiet, **here)
        return self

    def __exit__(self, *_: object) -> None:
        self.ray.shutdown()

    def compute(self, task: T, root: Path) -> Outcome[T]:
        """Runs one task; it has failed if its machine was lost or its files are not here."""
        folder = task.folder(root)
        remote = self.ray.remote(num_cpus=1, max_retries=0)(alone)
        try:
            outcome = self.ray.get(remote.remote(task, root.resolve(), 1, self.trust))
        except Exception as error:  # a failed task must not stop the others
            last = str(error).strip().splitlines()
            return Outcome(task, folder, error=last[-1] if last else type(error).__name__)
        error = outcome.error
        if error is None and not (folder / RECORD).is_file():
            error = f"{folder} is not on this machine: it must be on a file system that all share"
        return Outcome(task, folder, outcome.result if error is None else {}, outcome.cost, error)
