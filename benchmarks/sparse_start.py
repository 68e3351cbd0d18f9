"""What a learned start saves the lasso's solver, and what it costs.

    python benchmarks/sparse_start.py solver
    python benchmarks/sparse_start.py training [--steps 240]

`solver`: N = 4096 signals, K = 512 atoms, D = 64, 2 % and 5 % active, as in benchmarks/sparse.py;
the start has learned from the codes of 600 batches of 512 other signals. `training`: two
autoencoders side by side on the same batches of CIFAR-10, one with a start, the other without;
lasso steered to 10 of 512 atoms. Rounds are enlargements of the active set until the duality gap
is 1e-3, mean over signals. Two threads; medians.
"""

import argparse
import functools
import os
import statistics
import time
from collections.abc import Callable

import torch
from sparse import SIGNALS, dictionary_and_signals, penalty_for
from torch import Tensor

import narrows as nw
from narrows.bottlenecks import Lasso, LearnedStart, SparseDictionary
from narrows.bottlenecks.sparse.learned_start import StartEncoder
from narrows.sparse.coordinate_descent import descend
from narrows.sparse.lasso_support import lasso_support
from narrows.sparse.penalty import L1

TOLERANCE = 1e-3
Start = tuple[Tensor, Tensor] | None


def milliseconds(run: Callable[[], object], repeats: int = 9) -> float:
    times = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times[1:])


def rounds(problem: tuple[Tensor, Tensor, Tensor], start: Start, stride: int = 1) -> float:
    """Mean rounds (coordinate moves, in torch) of a signal, to the next multiple of stride."""
    total, budget = 0.0, 0
    while True:
        solution = descend(*problem, L1(1.0), (TOLERANCE, budget), start)
        open_ = 1 - solution.converged.double().mean().item()
        if open_ == 0:
            return total
        total, budget = total + stride * open_, budget + stride


def taught(starter: StartEncoder, atoms: Tensor, weight: float) -> StartEncoder:
    """A start that has learned from the codes of fresh signals."""
    optimiser = torch.optim.Adam(starter.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(1)
    options = (False, TOLERANCE, min(atoms.shape))
    for _ in range(600):
        signals = torch.randn(512, atoms.shape[1], generator=generator)
        weights = torch.full((512,), weight)
        code = lasso_support(signals, atoms, weights, options)
        optimiser.zero_grad()
        starter.loss(signals, atoms, weights, code).mean().backward()
        optimiser.step()
    return starter


def solver() -> None:
    atoms, signals = dictionary_and_signals(64)
    for share in (0.02, 0.05):
        weight = penalty_for(signals, atoms, share * len(atoms))
        problem = (signals, atoms, torch.full((SIGNALS,), weight))
        print(f"\n{share:.0%} active, lambda {weight:.3f}")
        for width in (None, 4, 6, 8, 12):
            start, propose, budget = None, None, (TOLERANCE, 20_000)
            if width is not None:
                starter = taught(StartEncoder(LearnedStart(width), 512, 64, False), atoms, weight)
                propose = functools.partial(starter.propose, *problem)
                start = propose()
            solve = functools.partial(descend, *problem, L1(1.0), budget, start)
            row = f"{rounds(problem, start):5.2f} rounds, solver {milliseconds(solve):6.1f} ms"
            if propose is not None:
                row += f", guess {milliseconds(propose):4.1f} ms"
            os.environ["NARROWS_KERNELS"] = "off"
            row += f"; in torch {rounds(problem, start, 25):6.1f} moves"
            row += f", {milliseconds(solve, 3):6.0f} ms"
            os.environ["NARROWS_KERNELS"] = "on"
            print(f"  {'no start' if width is None else f'width {width}':9s} {row}", flush=True)


def training(steps: int) -> None:
    images = nw.data.load("cifar10").train.batch(torch.arange(6400))
    contestants = {name: made(start) for name, start in {
        "no start": None, "learned": LearnedStart(), "wider": LearnedStart(8),
    }.items()}  # fmt: skip
    times: dict[str, list[float]] = {name: [] for name in contestants}
    generator = torch.Generator().manual_seed(1)
    for step in range(1, steps + 1):
        batch = images[torch.randint(0, len(images), (128,), generator=generator)]
        for name, (model, optimiser) in contestants.items():
            begin = time.perf_counter()
            optimiser.zero_grad()
            loss = model.loss(batch)
            loss.total.backward()
            optimiser.step()
            model.bottleneck.update([loss.latent])
            times[name].append(1e3 * (time.perf_counter() - begin))
        if step % 40 == 0:
            print(f"steps {step - 39} to {step}")
            for name, (model, _) in contestants.items():
                recent = times[name][-40:]
                row = f"median {statistics.median(recent):6.1f} ms, best {min(recent):6.1f}"
                print(f"  {name:9s} {row}, {of_features(model, batch):5.2f} rounds", flush=True)


def made(start: LearnedStart | None) -> tuple[nw.Autoencoder, torch.optim.Optimizer]:
    torch.manual_seed(0)
    bottleneck = SparseDictionary(512, 64, Lasso(0.4, start=start), target_l0=10.0)
    model = nw.Autoencoder.for_images((3, 32, 32), bottleneck).train()
    return model, torch.optim.Adam(model.parameters(), lr=3e-4)


@torch.no_grad()
def of_features(model: nw.Autoencoder, images: Tensor) -> float:
    bottleneck = model.bottleneck
    assert isinstance(bottleneck, SparseDictionary)
    signals, atoms = bottleneck._problem(model.encoder(images))
    weights = bottleneck.code.penalties(signals, atoms, bottleneck.level)
    starter = bottleneck.starter
    start = None if starter is None else starter.propose(signals, atoms, weights)
    return rounds((signals, atoms, weights), start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["solver", "training"])
    parser.add_argument("--steps", type=int, default=240)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    solver() if arguments.part == "solver" else training(arguments.steps)


if __name__ == "__main__":
    main()
