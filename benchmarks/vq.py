"""Vector quantisation against its peers: speed, memory, and what it costs a real model.

    python -m benchmarks.vq [--only step,memory,model,usage] [--ledger]

Every figure is a ratio of two things measured in turns within one run, so that a busy machine
slows both. `step` is forward + backward + codebook update on one thread; its peer is
vector-quantize-pytorch with moving averages and straight-through gradient.
"""

import argparse
import ctypes
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

import narrows as nw
from evidence.benchmarks import record
from narrows.functional.nearest import nearest

LEDGER = {"step": "vq-step", "memory": "vq-step", "model": "vq-model", "usage": "vq-usage"}
SIZES = [(16384, 64, 512), (65536, 64, 1024), (16384, 256, 8192)]


def ours(n: int, dim: int, size: int, kernels: str) -> Callable[[], None]:
    """One training step of a VectorQuantizer on features [256, n / 256, dim]."""
    torch.manual_seed(0)
    quantizer = nw.bottlenecks.VectorQuantizer(size, dim)
    features, pull = torch.randn(2, 256, n // 256, dim)
    quantizer.update([quantizer(features)])

    def step() -> None:
        os.environ["NARROWS_KERNELS"] = kernels
        x = features.detach().requires_grad_()
        latent = quantizer(x)
        loss = (latent.z * pull).mean() + 0.25 * latent.terms["commitment"].mean()
        loss.backward()
        quantizer.update([latent])

    return step


def peer(n: int, dim: int, size: int) -> Callable[[], None]:
    """The same with vector-quantize-pytorch."""
    from vector_quantize_pytorch import VectorQuantize

    torch.manual_seed(0)
    quantizer = VectorQuantize(
        dim, size, decay=0.99, commitment_weight=0.25, rotation_trick=False
    ).train()
    features, pull = torch.randn(2, 256, n // 256, dim)

    def step() -> None:
        x = features.detach().requires_grad_()
        z, _, commitment = quantizer(x)
        ((z * pull).mean() + commitment.sum()).backward()

    return step


def search(features: torch.Tensor, codes: torch.Tensor) -> None:
    os.environ["NARROWS_KERNELS"] = "on"
    nearest(features, codes)


def in_turns(
    subjects: dict[str, Callable[[], None]], rounds: int, warmups: int = 2
) -> dict[str, list[float]]:
    """Seconds of each subject in each round; they take turns."""
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(rounds + warmups):
        for name, subject in subjects.items():
            began = time.perf_counter()
            subject()
            if number >= warmups:
                times[name].append(time.perf_counter() - began)
    return times


def ratio(times: dict[str, list[float]], slow: str, fast: str) -> float:
    """Median over rounds of how many times faster `fast` was than `slow` in the same round."""
    return statistics.median(a / b for a, b in zip(times[slow], times[fast], strict=True))


def measure_steps(rounds: int) -> dict[str, dict]:
    torch.set_num_threads(1)
    rows = {}
    for n, dim, size in SIZES:
        features, codes = torch.randn(n, dim), torch.randn(size, dim)
        product = torch.empty(n, size)
        subjects = {
            "peer": peer(n, dim, size),
            "compiled": ours(n, dim, size, "on"),
            "torch": ours(n, dim, size, "off"),
            "sgemm": lambda a=features, b=codes, c=product: torch.mm(a, b.T, out=c),
            "search": lambda a=features, b=codes: search(a, b),
        }
        times = in_turns(subjects, rounds if size < 8000 else max(3, rounds // 3))
        rows[f"{n:,} x {dim}, {size:,}"] = {
            "milliseconds": {k: round(1e3 * min(v), 2) for k, v in times.items()},
            "torch_step_speedup": round(ratio(times, "peer", "torch"), 2),
            "compiled_step_speedup": round(ratio(times, "peer", "compiled"), 2),
            "compiled_search_over_sgemm": round(ratio(times, "sgemm", "search"), 2),
        }
    return rows


def high_water(subject: str, n: int, dim: int, size: int) -> float:
    """Peak extra MB of one step in a fresh process (Linux)."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.vq", "--child", subject, str(n), str(dim), str(size)],
        capture_output=True, text=True, check=True,
        # Every tensor gets pages of its own and gives them back: otherwise what malloc happens
        # to keep decides the figure.
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_ARENA_MAX": "1"},
    )  # fmt: skip
    return float(done.stdout.split()[-1])


def child(subject: str, n: int, dim: int, size: int) -> None:
    """Prints by how many MB one step, after a small one, lifts this process's high water."""
    torch.set_num_threads(1)

    def make(rows: int, codes: int) -> Callable[[], None]:
        if subject == "layer":
            from benchmarks import layer

            x = torch.randn(256, rows // 256, dim).requires_grad_()
            return layer.ours(nw.VectorQuantizer(codes, dim), x)
        return peer(rows, dim, codes) if subject == "peer" else ours(rows, dim, codes, subject)

    make(256, 8)()  # loads code and library buffers
    step = make(n, size)
    ctypes.CDLL(None).malloc_trim(0)  # hands back what is free, so that it counts as extra
    Path("/proc/self/clear_refs").write_text("5")  # sets the high water to what is held now
    before = _memory("VmRSS")
    step()
    print((_memory("VmHWM") - before) / 1024)


def _memory(field: str) -> float:
    """A field of /proc/self/status in KB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return float(line.split()[1])
    raise KeyError(field)


def measure_memory() -> dict[str, dict]:
    rows = {}
    for n, dim, size in SIZES:
        subjects = {"peer": "peer", "compiled": "on", "torch": "off", "layer": "layer"}
        megabytes = {name: high_water(who, n, dim, size) for name, who in subjects.items()}
        rows[f"{n:,} x {dim}, {size:,}"] = {
            "megabytes": {name: round(peak, 1) for name, peak in megabytes.items()},
            "memory_ratio": round(megabytes["peer"] / megabytes["compiled"], 2),
            "layer_memory_ratio": round(megabytes["peer"] / megabytes["layer"], 2),
        }
    return rows


def measure_model(rounds: int) -> dict[str, dict]:
    """A training step of the CIFAR-size convolutional autoencoder, batch 128, all threads."""
    torch.set_num_threads(os.cpu_count() or 1)
    os.environ["NARROWS_KERNELS"] = "on"
    x = torch.rand(128, 3, 32, 32)

    def make(bottleneck: nw.Bottleneck) -> Callable[[], None]:
        torch.manual_seed(0)
        model = nw.Autoencoder.for_images((3, 32, 32), bottleneck).train()
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)

        def step() -> None:
            loss = model.loss(x)
            loss.total.backward()
            optimizer.step()
            optimizer.zero_grad()
            bottleneck.update([loss.latent])

        return step

    times = in_turns(
        {
            "plain": make(nw.bottlenecks.Identity(64)),
            "vq": make(nw.bottlenecks.VectorQuantizer(512, 64)),
        },
        rounds,
    )
    row = {
        "milliseconds": {k: round(1e3 * statistics.median(v), 1) for k, v in times.items()},
        "model_overhead": round(ratio(times, "vq", "plain"), 4),
        "model_overhead_of_minima": round(min(times["vq"]) / min(times["plain"]), 4),
    }
    return {"VQ over plain": row}


def measure_usage(steps: int = 600) -> dict[str, dict]:
    """Usage of 4096 codes on 4x4 MNIST patches with 8 features, by three kinds of codebook."""
    torch.set_num_threads(os.cpu_count() or 1)
    data = nw.data.load("mnist")
    images = data.train.batch(torch.arange(20_000))
    held_out = data.test.batch(torch.arange(5_000))
    rows = {}
    moving = nw.bottlenecks.VectorQuantizer(
        4096, 8, learning=nw.bottlenecks.CodebookLearning(init="kmeans", warmup=50)
    )
    kinds = {
        "gradient, no revival": nw.bottlenecks.VectorQuantizer(
            4096,
            8,
            learning=nw.bottlenecks.CodebookLearning(
                method="gradient", init="uniform", revive_after=None
            ),
        ),
        "moving averages, k-means start, revival": moving,
        "`SimVQ`": nw.bottlenecks.SimVQ(4096, 8),
    }
    for name, bottleneck in kinds.items():
        torch.manual_seed(0)
        network = nw.networks.Conv(32, residual_hidden=16)
        model = nw.Autoencoder.for_images(data.shape, bottleneck, network=network)
        optimizer = torch.optim.Adam(model.parameters(), 2e-3)
        generator = torch.Generator().manual_seed(0)
        for _ in range(steps):
            x = images[torch.randint(len(images), (128,), generator=generator)]
            loss = model.loss(x)
            loss.total.backward()
            optimizer.step()
            optimizer.zero_grad()
            bottleneck.update([loss.latent])
            model.likelihood.update(x, loss.output)
        model.eval()
        with torch.no_grad():
            totals = {
                "counts": sum(model.latent(part).stats["counts"] for part in held_out.split(500))
            }
            error = (model.reconstruct(held_out) - held_out).square().mean() / data.variance
        used = bottleneck.summary(totals, 5000)
        rows[name] = {
            "usage": f"{used['usage']:.1%}".replace("%", " %"),
            "perplexity": round(used["perplexity"]),
            "test NMSE": round(float(error), 3),
        }
    return rows


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument(
        "--ledger", action="store_true", help="append to evidence/benchmarks.jsonl"
    )
    arguments.add_argument("--only", default="step,memory,model,usage")
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.child:
        child(given.child[0], *map(int, given.child[1:]))
        return
    parts: dict[str, Callable[[], dict[str, dict]]] = {
        "step": lambda: measure_steps(given.rounds),
        "memory": measure_memory,
        "model": lambda: measure_model(given.rounds),
        "usage": measure_usage,
    }
    for name in given.only.split(","):
        for of, figures in parts[name]().items():
            print(name, of, figures, flush=True)
            if given.ledger:
                record(LEDGER[name], of, figures)


if __name__ == "__main__":
    main()
