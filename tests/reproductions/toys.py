"""Trials without training, importable by worker processes."""

import os
import signal
import time

import numpy as np


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
