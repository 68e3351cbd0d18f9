"""Times of narrows' sparse solvers and of a whole training step, beside other libraries'.

    python -m benchmarks.sparse [omp|lasso|step] [--repeats 7] [--ledger] [--cpu]

Every row is measured in one process on two threads, the contestants taking turns, so that what
else the machine does falls on all of them alike; ratios are medians over the turns. On a busy
machine threads wait for each other: --cpu takes one thread and its CPU time instead.

pytorch-lasso is timed where it can be imported (it is not on any package index, and its
current code needs a SciPy older than 1.17). SPAMS: pip install spams-bin. Its `omp` chooses
atoms by the residual after the refit, so its codes differ from those of the other two.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import sparse_encode
from torch.nn.functional import normalize

import narrows as nw
from evidence.benchmarks import record
from narrows.bottlenecks import (
    OMP,
    Identity,
    Lasso,
    SparseDictionary,
    TopK,
    VectorQuantizer,
)
from narrows.sparse import coordinate_descent, fista, omp, top_k

SIGNALS, ATOMS, ACTIVE = 4096, 512, 8
SLOW = ("scikit-learn", "narrows fista", "pytorch-lasso")
CLOCK = [time.perf_counter]
THREADS = [2]
Contestants = dict[str, Callable[[], object]]

Rows = dict[str, dict[str, float]]
"""Contestant -> ms, best_ms, ratio, best_ratio."""


def optional(name: str) -> ModuleType | None:
    try:
        return import_module(name)
    except ImportError:
        return None


def measure(contestants: Contestants, repeats: int) -> dict[str, list[float]]:
    """Milliseconds of each turn of each contestant, the turns interleaved."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(repeats + 1):
        for name, run in contestants.items():
            if name.startswith(SLOW) and turn > 1:
                times[name].append(times[name][-1])  # seconds long: once will do
                continue
            start = CLOCK[0]()
            run()
            if turn or name.startswith(SLOW):  # the first turn compiles and warms up
                times[name].append(1e3 * (CLOCK[0]() - start))
    return {name: values[-repeats:] for name, values in times.items()}


def table(title: str, times: dict[str, list[float]], ours: str) -> Rows:
    """Prints one comparison and returns it as plain data."""
    print(f"\n{title}")
    rows = {}
    for name, values in times.items():
        median, best = statistics.median(values), min(values)
        ratio = statistics.median(v / o for v, o in zip(values, times[ours], strict=True))
        best_ratio = best / min(times[ours])
        rows[name] = {"ms": median, "best_ms": best, "ratio": ratio, "best_ratio": best_ratio}
        print(
            f"  {name:28s} {median:9.1f} ms (best {best:9.1f})   {ratio:7.2f} "
            f"(best/best {best_ratio:7.2f}) x {ours}",
            flush=True,
        )
    return rows


def dictionary_and_signals(dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    atoms = normalize(torch.randn(ATOMS, dim, generator=generator), dim=1)
    return atoms, torch.randn(SIGNALS, dim, generator=generator)


def pursuit(dim: int, repeats: int) -> Rows:
    atoms, signals = dictionary_and_signals(dim)
    rows, columns = signals.numpy(), np.asfortranarray(signals.numpy().T)
    table_of_atoms = np.asfortranarray(atoms.numpy().T)
    contestants: Contestants = {
        "narrows omp": lambda: omp(signals, atoms, k=ACTIVE),
        "narrows top_k": lambda: top_k(signals, atoms, k=ACTIVE),
        "torch's matrix product x D^T alone": lambda: signals @ atoms.T,
        "scikit-learn omp": lambda: sparse_encode(
            rows, atoms.numpy(), algorithm="omp", n_nonzero_coefs=ACTIVE
        ),
    }
    if spams := optional("spams"):
        contestants["spams omp"] = lambda: spams.omp(
            columns, table_of_atoms, L=ACTIVE, numThreads=THREADS[0]
        )
    times = measure(contestants, repeats)
    return table(f"OMP, k={ACTIVE}, N={SIGNALS}, K={ATOMS}, D={dim}", times, "narrows omp")


def penalty_for(signals: torch.Tensor, atoms: torch.Tensor, active: float) -> float:
    """The lambda that leaves so many atoms active on average, by bisection."""
    low, high = 0.0, float((signals @ atoms.T).abs().max())
    for _ in range(25):
        middle = (low + high) / 2
        l0 = (
            coordinate_descent(signals[:512], atoms, penalty=middle, tolerance=1e-6)
            .l0.double()
            .mean()
        )
        low, high = (middle, high) if l0 > active else (low, middle)
    return high


def lasso(dim: int, share: float, repeats: int) -> Rows:
    atoms, signals = dictionary_and_signals(dim)
    weight = penalty_for(signals, atoms, share * ATOMS)
    rows, columns = signals.numpy(), np.asfortranarray(signals.numpy().T)
    table_of_atoms = np.asfortranarray(atoms.numpy().T)
    best = coordinate_descent(signals.double(), atoms.double(), penalty=weight, tolerance=1e-9)
    optimum = best.objective

    def excess(codes: torch.Tensor) -> float:
        residual = signals - codes @ atoms
        objective = residual.square().sum(1) / 2 + weight * codes.abs().sum(1)
        return float(((objective.double() - optimum) / optimum).max())

    contestants: Contestants = {
        "narrows coordinate_descent": lambda: coordinate_descent(
            signals, atoms, penalty=weight, tolerance=1e-3
        ),
        "narrows fista (torch)": lambda: fista(signals, atoms, penalty=weight, tolerance=1e-3),
        "scikit-learn lasso_cd": lambda: sparse_encode(
            rows, atoms.numpy(), algorithm="lasso_cd", alpha=weight
        ),
    }
    codes = coordinate_descent(signals, atoms, penalty=weight, tolerance=1e-3).codes
    print(f"\n  L0 {best.l0.double().mean():.1f}; worst excess over the optimum:", end=" ")
    print(f"narrows {excess(codes):.1e}", end="")
    if spams := optional("spams"):
        contestants["spams lasso"] = lambda: spams.lasso(
            columns, table_of_atoms, lambda1=weight, mode=2, numThreads=THREADS[0]
        )
        found = contestants["spams lasso"]().toarray()
        print(f", spams {excess(torch.from_numpy(np.ascontiguousarray(found.T))):.1e}", end="")
    if theirs := optional("lasso.linear"):
        contestants["pytorch-lasso"] = lambda: theirs.sparse_encode(
            signals, atoms.T.contiguous(), alpha=weight, algorithm="ista", maxiter=100
        )
    print()
    times = measure(contestants, repeats)
    title = f"lasso to 1e-3, {share:.0%} active, N={SIGNALS}, K={ATOMS}, D={dim}"
    return table(title, times, "narrows coordinate_descent")


def training_step(bottleneck: nw.Bottleneck) -> Callable[[], object]:
    """Forward, backward, optimiser and running updates of a CIFAR-size autoencoder."""
    torch.manual_seed(0)
    model = nw.Autoencoder.for_images((3, 32, 32), bottleneck).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)
    images = torch.rand(128, 3, 32, 32, generator=torch.Generator().manual_seed(1))

    def step() -> None:
        optimiser.zero_grad()
        loss = model.loss(images)
        loss.total.backward()
        optimiser.step()
        model.bottleneck.update([loss.latent])

    return step


def steps(repeats: int) -> Rows:
    size, dim = 512, 64

    def sparse(code: nw.bottlenecks.Coder, gradient: Any) -> nw.Bottleneck:
        return SparseDictionary(size, dim, coder=code, gradient=gradient)

    contestants = {
        "VQ": training_step(VectorQuantizer(size, dim)),
        "identity": training_step(Identity(dim)),
    }
    for gradient in ("straight_through", "implicit"):
        for code in (TopK(ACTIVE), OMP(ACTIVE), Lasso(0.3)):
            name = f"{type(code).__name__}, {gradient.replace('_', '-')}"
            contestants[name] = training_step(sparse(code, gradient))
    title = "training step, batch 128, 8x8 sites of 64 features, 512 codes or atoms"
    return table(title, measure(contestants, repeats), "VQ")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("part", nargs="?", choices=["omp", "lasso", "step"])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--ledger", action="store_true", help="append to evidence/benchmarks.jsonl")
    parser.add_argument("--cpu", action="store_true")
    arguments = parser.parse_args()
    if arguments.cpu:
        CLOCK[0], THREADS[0] = time.process_time, 1
    torch.set_num_threads(THREADS[0])
    warnings.simplefilter("ignore")  # scikit-learn warns once a signal in single precision
    for dim in (64, 256):
        if arguments.part in (None, "omp"):
            keep("sparse-omp", f"D = {dim}", pursuit(dim, arguments.repeats), arguments.ledger)
        for share in (0.02, 0.05) if arguments.part in (None, "lasso") else ():
            rows, column = lasso(dim, share, arguments.repeats), f"{100 * share:.0f} %, D = {dim}"
            keep("sparse-lasso", column, rows, arguments.ledger)
    if arguments.part in (None, "step"):
        for name, row in steps(arguments.repeats).items():
            if arguments.ledger:
                figures = {"ms": round(row["ms"]), "ratio": round(row["ratio"], 2)}
                figures["ratio of the best"] = round(row["best_ratio"], 2)
                record("sparse-step", name, figures, repeats=arguments.repeats)


def keep(benchmark: str, column: str, rows: Rows, ledger: bool) -> None:
    """Appends the median milliseconds of each contestant to the ledger, if asked to."""
    for name, row in rows.items() if ledger else ():
        milliseconds = float(f"{row['ms']:.3g}")
        record(benchmark, name, {column: milliseconds}, threads=THREADS[0])


if __name__ == "__main__":
    main()
