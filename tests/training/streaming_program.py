"""Trains on shards; is killed in the middle of its second epoch, or goes on from there.

    python streaming_program.py DATA OUT killed [WORKERS]   # a whole run, and one that is killed
    python streaming_program.py DATA OUT resumed [WORKERS]

Under `torchrun --nproc-per-node 2` two processes do so together, and the second is killed.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import ClassVar

import torch

import narrows as nw
from narrows.data.reading.arrays import ArrayFile
from narrows.functional.ranks import rank, ranks
from narrows.training import Callback, Checkpoints, Engine, OneCycle, Optimization

EPOCHS, BATCH, KILLED_AT = 3, 16, 14  # of 10 steps an epoch


class Watch(Callback):
    """Notes which rows a step reads; kills its process, of several the last one, after some."""

    kill_after, stepping = 0, False
    seen: ClassVar[list[list[float]]] = []

    def before_step(self, model, progress):
        Watch.seen.append([])
        Watch.stepping = True

    def after_step(self, model, loss):
        Watch.stepping = False
        Watch.kill_after -= 1
        if Watch.kill_after == 0 and rank() == ranks() - 1:
            os.kill(os.getpid(), signal.SIGKILL)


def noted(self, rows, read=ArrayFile.read):
    """Reads as before; the first number of each example tells its row."""
    found = read(self, rows)
    if Watch.stepping:
        Watch.seen[-1].extend(found[:, 0].tolist())
    return found


def train(data, out, workers, *, resume=False):
    torch.manual_seed(0)
    model = nw.Autoencoder.for_vectors(data.shape[0], nw.Variational(3))
    engine = Engine(
        "cpu", devices=ranks(), strategy="auto" if ranks() == 1 else "ddp", workers=workers
    )
    nw.fit(
        model, data, epochs=EPOCHS, batch_size=BATCH // ranks(), engine=engine,
        optimization=Optimization(schedule=OneCycle()), callbacks=[Watch()],
        checkpoints=Checkpoints(seconds=0), out=out, resume=resume, show=False,
    )  # fmt: skip


def main(folder, out, what, workers=0):
    torch.set_num_threads(1)
    if "WORLD_SIZE" in os.environ:
        Engine("cpu", devices=int(os.environ["WORLD_SIZE"]), strategy="ddp").fabric()
    data = nw.data.load(f"shards:{folder}", buffer=64)
    if what == "resumed":
        train(data, f"{out}/killed", workers, resume=True)
        return
    ArrayFile.read = noted
    train(data, f"{out}/whole", workers)
    Path(out, f"seen.{rank()}.json").write_text(json.dumps(Watch.seen))
    Watch.kill_after = KILLED_AT
    train(data, f"{out}/killed", workers)


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
