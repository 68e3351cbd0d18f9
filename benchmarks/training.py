"""What narrows' training loop costs over a bare torch loop, and what its options gain.

    python -m benchmarks.training [overhead|data|checkpoint|precision|start ...] [--ledger]

overhead    optimiser steps of `narrows.training.loop.Loop` against a bare torch loop
memory      steps of processes that keep their memory against steps of others
data        the same steps on shuffled batches against one repeated batch
checkpoint  writing a checkpoint against an epoch of 45,000 images
precision   channels_last + bf16 + compile against plain float32
start       from the command `narrows train vq --data cifar10` to its first step

Contestants take turns in one process, so that what else the machine does falls on all alike;
ratios are medians over the turns of neighbouring blocks of steps.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

import narrows as nw
from evidence.benchmarks import record
from narrows.data.dataset import Split
from narrows.networks import Conv
from narrows.training import Checkpoints, Engine, Optimization, keep_memory
from narrows.training.checkpoint import save_checkpoint
from narrows.training.checkpoint_writer import CheckpointWriter
from narrows.training.loop import Loop
from narrows.training.progress import Interruption

STEPS = 10  # in a block: short, so that neighbours see the same machine


class Repeated(Split):
    """A split whose every batch is the same, cut and converted once."""

    def batch(self, index: torch.Tensor) -> torch.Tensor:
        """The one batch."""
        if "kept" not in self.__dict__:
            self.__dict__["kept"] = super().batch(index)
        return self.__dict__["kept"]

    def to(self, device: torch.device | str) -> "Repeated":
        """The same on another device."""
        return Repeated(self.images.to(device))


def images(n: int) -> Split:
    """Random 8-bit images of CIFAR's shape: times do not depend on what they show."""
    generator = torch.Generator().manual_seed(0)
    return Split(torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=generator))


def model(hidden: int = 32) -> nw.Autoencoder:
    torch.manual_seed(0)
    bottleneck = nw.bottlenecks.VectorQuantizer(512, 16)
    network = Conv(hidden=hidden, residual_layers=2, residual_hidden=hidden // 4)
    return nw.Autoencoder.for_images((3, 32, 32), bottleneck, network=network)


def ours(made: nw.Autoencoder, train: Split, batch: int, engine: Engine) -> Callable[[], object]:
    """A block of steps as `fit` takes them, with its looks at the clock and for Ctrl-C."""
    fabric = engine.fabric()
    loop = Loop(
        fabric, made, train=train, optimization=Optimization(), engine=engine, batch_size=batch,
        seed=0,
    )  # fmt: skip
    interruption = Interruption(fabric)
    with tempfile.TemporaryDirectory() as folder:
        writer = CheckpointWriter(Path(folder), Checkpoints(seconds=1e9), loop.state)

    def after_step() -> None:
        interruption.asked()
        writer.save_if_due()

    return lambda: loop.finish_epoch(10**6, (), after_step)


def bare(made: nw.Autoencoder, train: Split, batch: int) -> Callable[[], object]:
    """The same computations in the plainest torch."""
    optimizer = Optimization().optimizer(made)
    made.train()

    def block() -> None:
        order = torch.randperm(len(train))
        for start in range(0, len(train), batch):
            x = train.batch(order[start : start + batch])
            loss = made.loss(x)
            loss.total.backward()
            optimizer.step()
            optimizer.zero_grad()
            made.bottleneck.update([loss.latent])
            made.likelihood.update(x, loss.output)

    return block


def turns(contestants: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Milliseconds a step of each contestant in each turn, after one turn to warm up."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(repeats + 1):
        # Forwards and backwards by turns, so that no contestant always runs after the same one.
        names = list(contestants) if turn % 2 else list(contestants)[::-1]
        for name in names:
            start = time.perf_counter()
            contestants[name]()
            if turn:
                times[name].append(1e3 * (time.perf_counter() - start) / STEPS)
    return times


def ratio(times: dict[str, list[float]], above: str, below: str) -> float:
    pairs = zip(times[above], times[below], strict=True)
    return statistics.median(one / other for one, other in pairs)


def overhead(repeats: int) -> dict[str, float]:
    batch = 40
    train = images(batch * STEPS)
    contestants = {
        "bare": bare(model(), train, batch),
        "ours": ours(model(), train, batch, Engine()),
    }
    times = turns(contestants, repeats)
    return {
        "bare_ms": statistics.median(times["bare"]),
        "ours_ms": statistics.median(times["ours"]),
        "overhead": ratio(times, "ours", "bare") - 1,
        "overhead_of_fastest": min(times["ours"]) / min(times["bare"]) - 1,
    }


_STEPS = """
import resource, statistics, sys, time
sys.path.insert(0, sys.argv[1])
from benchmarks import training
if sys.argv[2] == "keep":
    training.keep_memory()
hidden, batch, blocks = map(int, sys.argv[3:])
train = training.images(batch * training.STEPS)
block = training.ours(training.model(hidden), train, batch, training.Engine())
block()
times = []
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(blocks):
    start = time.perf_counter()
    block()
    times.append(1e3 * (time.perf_counter() - start) / training.STEPS)
usage = resource.getrusage(resource.RUSAGE_SELF)
print(statistics.median(times), (usage.ru_minflt - before) / blocks / training.STEPS,
      usage.ru_maxrss / 1024)
"""


def memory(repeats: int) -> dict[str, float]:
    """Milliseconds a step, pages mapped a step, most megabytes; processes take turns."""
    results: dict[str, float] = {}
    for hidden, batch, blocks in ((32, 40, 20), (128, 128, 2)):
        figures: dict[str, list[list[float]]] = {"default": [], "keep": []}
        for _ in range(repeats):
            for mode, found in figures.items():
                command = [sys.executable, "-c", _STEPS, str(Path(__file__).parents[1]), mode]
                size = [str(hidden), str(batch), str(blocks)]
                done = subprocess.run([*command, *size], capture_output=True, text=True, check=True)
                found.append([float(word) for word in done.stdout.split()[-3:]])
        for mode, found in figures.items():
            medians = [statistics.median(column) for column in zip(*found, strict=True)]
            for name, value in zip(("ms", "pages", "mb"), medians, strict=True):
                results[f"{hidden}_{mode}_{name}"] = value
    return results


def data(repeats: int) -> dict[str, float]:
    batch = 128
    whole = images(45_000)
    repeated = Repeated(whole.images[: batch * STEPS])
    shuffled = Split(whole.images[torch.randperm(45_000)[: batch * STEPS]])
    contestants = {
        "repeated": ours(model(), repeated, batch, Engine()),
        "shuffled": ours(model(), shuffled, batch, Engine()),
    }
    times = turns(contestants, repeats)
    return {
        "step_ms": statistics.median(times["shuffled"]),
        "throughput": 1 / ratio(times, "shuffled", "repeated"),
    }


def checkpoint(repeats: int) -> dict[str, float]:
    batch = 128
    made = model(128)
    fabric = Engine().fabric()
    loop = Loop(
        fabric, made, train=images(batch * STEPS), optimization=Optimization(), engine=Engine(),
        batch_size=batch, seed=0,
    )  # fmt: skip
    start = time.perf_counter()
    loop.finish_epoch(10**6, (), lambda: None)
    epoch = (time.perf_counter() - start) / STEPS * (45_000 / batch)
    times = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            start = time.perf_counter()
            size = save_checkpoint(Path(folder), loop.state()).stat().st_size
            times.append(time.perf_counter() - start)
    cost = statistics.median(times)
    return {"megabytes": size / 1e6, "save_s": cost, "epoch_s": epoch, "share": cost / epoch}


def precision(repeats: int) -> dict[str, float]:
    batch = 128
    train = images(batch * STEPS)
    fast = Engine(precision="bf16-mixed", channels_last=True, compile=True)
    contestants = {
        "plain": ours(model(128), train, batch, Engine()),
        "fast": ours(model(128), train, batch, fast),
    }
    times = turns(contestants, repeats)
    return {
        "plain_ms": statistics.median(times["plain"]),
        "fast_ms": statistics.median(times["fast"]),
        "speedup": ratio(times, "plain", "fast"),
    }


_START = """
import os, sys, time
from narrows.cli.main import main
import narrows.training.loop as loop
step = loop.Loop._step
def first(self, *arguments):
    step(self, *arguments)
    print("first", time.time() - float(os.environ["BEGAN"]), flush=True)
    os._exit(0)
loop.Loop._step = first
sys.exit(main(sys.argv[1:]))
"""


def start(repeats: int) -> dict[str, float]:
    """Seconds; the loop's first step is waited for, then the process ends itself."""
    times = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            command = ["train", "vq", "--data", "cifar10", "--out", f"{folder}/run"]
            environ = os.environ | {"BEGAN": str(time.time())}
            done = subprocess.run(
                [sys.executable, "-c", _START, *command],
                env=environ,
                capture_output=True,
                text=True,
            )
            if "first" not in done.stdout:
                raise RuntimeError(done.stderr)
            times.append(float(done.stdout.split()[-1]))
            print("start", times[-1], file=sys.stderr)
    return {"seconds": statistics.median(times)}


BENCHMARKS: dict[str, tuple[Callable[[int], dict[str, float]], int]] = {
    "overhead": (overhead, 120),
    "memory": (memory, 3),
    "data": (data, 40),
    "checkpoint": (checkpoint, 8),
    "precision": (precision, 12),
    "start": (start, 3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], default=[*BENCHMARKS])
    parser.add_argument("--ledger", action="store_true", help="append to evidence/benchmarks.jsonl")
    arguments = parser.parse_args()
    keep_memory()  # as `narrows train` does; else where a loop frees what decides its time
    for name in arguments.names:
        run, repeats = BENCHMARKS[name]
        figures = run(repeats)
        print(name, json.dumps(figures), flush=True)
        if arguments.ledger:
            record("training-raw", name, figures)


if __name__ == "__main__":
    main()
