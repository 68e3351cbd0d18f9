"""Tasks on a Ray cluster, or on a Ray of this machine."""

import logging
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Self

from narrows.tasks.executor import Executor, alone
from narrows.tasks.task import RECORD, Outcome, T

HERE = "local"
"""Address that starts a Ray on this machine alone."""
RETRIES = 3
"""How often a task that was lost with its machine is begun again on another."""
_SECONDS = 10.0  # in which a cluster has to answer


class OnRay(Executor):
    """Runs tasks on a Ray, each on one core in a process of its own.

    The folder of all tasks, and the one that the command is given in, have to be on a file system
    that all machines share. A task that is lost with its machine is begun again on another,
    where it goes on from what it kept in its folder.

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
        self._check_answer()
        try:
            self.ray.init(address=self.address, **quiet, **here)
        except (ConnectionError, ValueError) as error:
            raise ConnectionError(_nobody(self.address, str(error))) from error
        return self

    def __exit__(self, *_: object) -> None:
        self.ray.shutdown()

    @property
    def at_once(self) -> int:
        """How many tasks make progress at a time: one on each core of the cluster."""
        return max(1, int(self.ray.cluster_resources().get("CPU", 1)))

    def compute(self, task: T, root: Path) -> Outcome[T]:
        """Runs one task; it has failed if it was lost too often or its files are not here."""
        folder = task.folder(root)
        remote = self.ray.remote(num_cpus=1, max_retries=RETRIES)(_elsewhere)
        try:
            asked = remote.remote(task, root.resolve(), self.trust, os.getcwd())
            outcome = self.ray.get(asked)
        except Exception as error:  # a failed task must not stop the others
            last = str(error).strip().splitlines()
            return Outcome(task, folder, error=last[-1] if last else type(error).__name__)
        error = outcome.error
        if error is None and not (folder / RECORD).is_file():
            error = f"{folder} is not on this machine: it must be on a file system that all share"
        return Outcome(task, folder, outcome.result if error is None else {}, outcome.cost, error)

    def _check_answer(self) -> None:
        """Whether anybody listens: Ray itself tries for minutes, and then ends the process.

        Raises:
            ConnectionError: if nobody does.
        """
        host, colon, port = self.address.rpartition("://")[2].partition("/")[0].rpartition(":")
        if colon:
            try:
                socket.create_connection((host, int(port)), timeout=_SECONDS).close()
            except (OSError, ValueError, OverflowError) as error:
                raise ConnectionError(_nobody(self.address, str(error))) from None


def _nobody(address: str, reason: str) -> str:
    return (
        f"no Ray cluster answers at {address!r} ({reason}); start one (ray start --head), give its "
        "address (auto, HOST:PORT, ray://HOST:10001), or --ray local"
    )


def _elsewhere(task: T, root: Path, trust: Sequence[str], folder: str) -> Outcome[T]:
    """Runs a task where Ray put it, as if in the folder that the command was given in."""
    try:
        os.chdir(folder)  # recipes and data may be named by paths from there
    except OSError as error:
        raise RuntimeError(
            f"{folder} cannot be entered on {socket.gethostname()} ({error.strerror}): the folder "
            "that the command is given in must be on a file system that all share"
        ) from None
    return alone(task, root, 1, trust)
