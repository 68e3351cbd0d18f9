"""Tasks without training, importable by worker processes."""

import os
import signal
import time
from pathlib import Path

import numpy as np

FACTOR = 2


def number(folder, *, value, seed=0):
    return {"value": FACTOR * value + 0.01 * seed, "picture": np.full((2, 1, 4, 4), 0.5)}


def fails(folder, *, seed=0):
    raise ValueError("it had to be")


def dies(folder, *, seed=0):
    print("what it said last", file=os.sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def talks(folder):
    """Prints where the outcomes pass."""
    print("not an outcome", flush=True)
    os.write(1, b"nor this")
    return {"process": os.getpid(), "threads": int(os.environ["OMP_NUM_THREADS"])}


def slow(folder, *, seed=0):
    """Counts how often it was begun."""
    (folder.parent / f"begun-{seed}-{time.monotonic_ns()}").touch()
    time.sleep(0.2)
    return {"value": float(seed)}


def sleeps(folder, *, seed=0):
    (folder.parent / f"process-{os.getpid()}").touch()
    time.sleep(600)
    return {}


def works(folder, *, seconds=0.3, megabytes=0):
    """Takes processor time and memory, and wall-clock besides."""
    held, began = np.ones(megabytes * 2**17), time.process_time()
    while time.process_time() - began < seconds:
        held.sum()
    time.sleep(seconds)
    return {}


def reads(folder, *, seed=0, path=""):
    """Counts how often it was begun, and needs a file beside whoever gave the command."""
    (folder.parent / f"begun-{seed}-{time.monotonic_ns()}").touch()
    time.sleep(1.5)
    return {"value": float(seed + (Path(path).read_text() == ""))}
