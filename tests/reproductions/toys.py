"""Trials without training, importable by worker processes."""

import os
import signal
import time

import numpy as np

from reproductions import floor
from reproductions.floor import Floor


def number(folder, *, value, seed=0):
    return {"value": value + 0.01 * seed, "picture": np.full((2, 1, 4, 4), 0.5)}


def fails(folder, *, seed=0):
    raise ValueError("it had to be")


def dies(folder, *, seed=0):
    os.kill(os.getpid(), signal.SIGKILL)


def slow(folder, *, seed=0):
    """Counts how often it was begun."""
    count = folder.parent / f"begun-{seed}-{time.monotonic_ns()}"
    count.touch()
    time.sleep(0.2)
    return {"value": float(seed)}


def trained(folder, *, value, shortfall, seed=0):
    """A trial with one model, below its floor or not."""
    (folder / "run").mkdir(exist_ok=True)
    nmse = 1.2 if shortfall else 0.1
    known = Floor("run", nmse, 1.0, 0.05, 0.9, 0.0, 20, ["a toy warning"])
    floor.write(folder / "run", known)
    return {"value": value + 0.01 * seed}
