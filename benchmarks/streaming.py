"""Training on data that stay on the disk beside the same data in memory: speed and memory.

    python -m benchmarks.streaming [vectors images vectors-memory images-memory] [--ledger]

vectors         steps on 1,000,000 x 768 float16: in memory, mapped, and read ahead by a worker
images          steps on 500,000 colour images of 64x64: in memory, in mapped shards, from tar files
vectors-memory  most memory of `fit` on all vectors over that of `fit` on 1,000 of them
images-memory   the same on images

Contestants take turns in one process with the same model and the same batches; ratios are medians
over turns. Memory is that of a fresh process, without the pages of files, which the system drops
when it needs room.
The data are made in a temporary folder: 3 GB of disk for vectors, 15 GB for images.
"""

import argparse
import io
import itertools
import json
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import narrows as nw
from benchmarks.training import ratio
from evidence.benchmarks import record
from narrows.data.ahead import batches_ahead
from narrows.data.batching import batches
from narrows.data.dataset import Split
from narrows.data.mapped import MappedSplit, read
from narrows.training import Engine, Optimization, keep_memory
from narrows.training.loop import Loop

STEPS, FEW = 10, 1000
SHARDS = {"vectors": 16, "images": 50}
SIZES = {"vectors": 1_000_000, "images": 500_000}
EXAMPLES = {"vectors": "vectors of 768, float16", "images": "images of 3x64x64, 8 bits"}
BATCH = {"vectors": 256, "images": 64}


def model(kind: str) -> nw.Autoencoder:
    torch.manual_seed(0)
    if kind == "vectors":
        return nw.Autoencoder.for_vectors(768, nw.VectorQuantizer(1024, 64))
    network = nw.Conv(hidden=16, residual_layers=1, residual_hidden=8)
    return nw.Autoencoder.for_images((3, 64, 64), nw.VectorQuantizer(512, 16), network=network)


def make_vectors(folder: Path, n: int) -> None:
    """Shards of vectors in a space of 64 dimensions and noise, float16."""
    random = np.random.default_rng(0)
    mixing = random.normal(size=(64, 768)).astype(np.float32)
    for number, rows in enumerate(np.array_split(np.arange(n), SHARDS["vectors"])):
        codes = random.normal(size=(len(rows), 64)).astype(np.float32)
        noise = random.normal(size=(len(rows), 768)).astype(np.float32)
        np.save(folder / f"{number:03}.npy", (codes @ mixing + noise).astype(np.float16))


def make_tars(folder: Path, n: int) -> None:
    """Tar files of JPEG pictures, smooth at random, as the library webdataset would write them."""
    random = np.random.default_rng(0)
    for number, rows in enumerate(np.array_split(np.arange(n), SHARDS["images"])):
        with tarfile.open(folder / f"{number:03}.tar", "w") as archive:
            for row in rows:
                coarse = Image.fromarray(random.integers(0, 256, (9, 9, 3), dtype=np.uint8))
                file = io.BytesIO()
                coarse.resize((64, 64), Image.Resampling.BILINEAR).save(file, "JPEG", quality=90)
                entry = tarfile.TarInfo(f"{row:07}.jpg")
                entry.size = file.tell()
                archive.addfile(entry, io.BytesIO(file.getvalue()))


def in_memory(split: MappedSplit) -> MappedSplit:
    """The same rows of a tensor that holds all of them, as a split in memory stores them."""
    kind = split.dtype
    parts = [read(one, torch.arange(one.shape[0])).to(kind) for one in split.sources]
    return MappedSplit(torch.cat(parts), split.rows, features=split.features, buffer=split.buffer)


def stepping(kind: str, train: Split, workers: int = 0) -> Callable[[], None]:
    """A block of optimiser steps, each on the next batch of an endless run."""
    loop = Loop(
        Engine("cpu").fabric(), model(kind), train=train, optimization=Optimization(),
        engine=Engine("cpu", workers=workers), batch_size=BATCH[kind], seed=0,
    )  # fmt: skip
    loop.model.train()
    order = itertools.chain.from_iterable(
        batches(len(train), BATCH[kind], epoch=epoch, buffer=train.buffer)
        for epoch in itertools.count()
    )
    steps, ahead = itertools.tee(order)
    reading = batches_ahead(train, ahead, workers=workers)

    def block() -> None:
        for number, index in enumerate(itertools.islice(steps, STEPS)):
            loop._step([index], reading, number, 1e-3)

    return block


def turns(contestants: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Milliseconds a step of each in each turn, after one turn to warm up; order alternates."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(repeats + 1):
        for name in list(contestants)[:: 1 if turn % 2 else -1]:
            start = time.perf_counter()
            contestants[name]()
            if turn:
                times[name].append(1e3 * (time.perf_counter() - start) / STEPS)
    return times


def speeds(kind: str, splits: dict[str, MappedSplit], repeats: int) -> Mapping[str, object]:
    """Throughput of each contestant over that of the first, which is in memory."""
    first, *others = splits.values()
    rows = torch.arange(0, len(first), 1 + len(first) // 500)
    assert all(torch.equal(first.batch(rows), other.batch(rows)) for other in others)
    contestants = {name: stepping(kind, split) for name, split in splits.items()}
    contestants["read by a worker"] = stepping(kind, splits["mapped"], workers=1)
    times = turns(contestants, repeats)
    return {"ms a step in memory": round(statistics.median(times["memory"]), 1)} | {
        name: round(1 / ratio(times, name, "memory"), 3)
        for name in contestants if name != "memory"
    }  # fmt: skip


def vectors(folder: Path, n: int, repeats: int) -> Mapping[str, object]:
    make_vectors(folder, n)
    split = nw.data.load(f"shards:{folder}").train
    assert isinstance(split, MappedSplit)
    return speeds("vectors", {"memory": in_memory(split), "mapped": split}, repeats)


def images(folder: Path, n: int, repeats: int) -> Mapping[str, object]:
    for name in ("tars", "shards"):
        (folder / name).mkdir()
    make_tars(folder / "tars", n)
    start = time.perf_counter()
    tars = nw.data.load(f"webdataset:{folder}/tars/*.tar", decoded=str(folder / "decoded")).train
    seconds = time.perf_counter() - start
    assert isinstance(tars, MappedSplit)
    for number, one in enumerate(tars.sources):
        np.save(folder / "shards" / f"{number:05}.npy", read(one, torch.arange(one.shape[0])))
    split = nw.data.load(f"shards:{folder}/shards").train
    assert isinstance(split, MappedSplit)
    figures = speeds(
        "images", {"memory": in_memory(split), "mapped": split, "from tar files": tars}, repeats
    )
    return {**figures, "decoded a second": round(n / seconds)}


def anonymous() -> float:
    """Megabytes that this process and its children hold without a file behind them."""
    total = 0
    for path in Path("/proc/self/task").glob("*/children"):
        for child in path.read_text().split():
            total += _anonymous(child)
    return (total + _anonymous("self")) / 1024


def _anonymous(process: str) -> int:
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:  # it has ended
        return 0
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Anonymous"))


def peak(kind: str, folder: str, few: int) -> None:
    """Prints the most megabytes that one epoch of `fit` on a folder of shards holds."""
    found, over = [anonymous()], threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            found.append(anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    limit = FEW if few else None
    data = nw.data.load(f"shards:{folder}", train_examples=limit, test_examples=limit)
    nw.fit(model(kind), data, epochs=1, batch_size=BATCH[kind], show=False)
    over.set()
    watcher.join()
    print(json.dumps(max(found)))


def above(kind: str, folder: Path) -> Mapping[str, object]:
    """Most memory on all examples over that on a few, which is the model's, each in a process."""
    found = []
    for few in (1, 0):
        code = f"from benchmarks.streaming import peak; peak({kind!r}, {str(folder)!r}, {few})"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        found.append(float(done.stdout.split()[-1]))
    return {
        f"MB on {FEW:,} examples": round(found[0]),
        "MB on all": round(found[1]),
        "MB above": round(found[1] - found[0]),
    }


def vectors_memory(folder: Path, n: int, _repeats: int) -> Mapping[str, object]:
    make_vectors(folder, n)
    return above("vectors", folder)


def images_memory(folder: Path, n: int, _repeats: int) -> Mapping[str, object]:
    random = np.random.default_rng(0)
    for number, rows in enumerate(np.array_split(np.arange(n), SHARDS["images"])):
        coarse = random.integers(0, 256, (len(rows), 3, 16, 16), dtype=np.uint8)
        np.save(folder / f"{number:03}.npy", coarse.repeat(4, 2).repeat(4, 3))
    return above("images", folder)


BENCHMARKS: dict[str, Callable[[Path, int, int], Mapping[str, object]]] = {
    "vectors": vectors,
    "images": images,
    "vectors-memory": vectors_memory,
    "images-memory": images_memory,
}


def places(folder: str | None) -> Iterator[Path]:
    """Temporary folders, each gone before the next is made."""
    while True:
        with tempfile.TemporaryDirectory(dir=folder) as made:
            yield Path(made)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], default=[])
    parser.add_argument("--share", type=float, default=1.0, help="of the examples, for a trial")
    parser.add_argument("--repeats", type=int, default=30, help="turns of 10 steps")
    parser.add_argument("--folder", default=None, help="on the disk to be measured")
    parser.add_argument("--ledger", action="store_true", help="append to evidence/benchmarks.jsonl")
    arguments = parser.parse_args()
    keep_memory()
    for name, folder in zip(arguments.names or BENCHMARKS, places(arguments.folder), strict=False):
        n = int(SIZES[name.removesuffix("-memory")] * arguments.share)
        free = shutil.disk_usage(folder).free
        if free < 30_000 * n:
            raise SystemExit(f"{folder} has {free:,} bytes free; {30_000 * n:,} are needed")
        figures = BENCHMARKS[name](folder, n, arguments.repeats)
        print(f"{name}, {n:,}", json.dumps(figures), flush=True)
        if arguments.ledger:
            record("streaming", f"{n:,} {EXAMPLES[name.removesuffix('-memory')]}", figures)


if __name__ == "__main__":
    main()
