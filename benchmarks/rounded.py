"""What training for bits costs a step: rounded over plain codes, constrained over plain VQ.

    python -m benchmarks.rounded [--rounds 40] [--ledger]

Every figure is the median ratio of two training steps of whole models taken in turns on one
thread, images of 32 x 32, so that a busy machine slows both. Wanted: at most 1.10 for `rounded`
over `ae`, 1.05 for `vq-entropy` over `vq`.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

import narrows as nw
from evidence.benchmarks import record

BATCH = 64


def bottleneck(name: str) -> nw.Bottleneck:
    """A contender; entropy-constrained and plain quantisers learn alike."""
    if name == "ae":
        return nw.Identity(16)
    if name == "rounded":
        return nw.Rounded(16)
    constraint = 0.1 if name == "vq-entropy" else None
    learning = nw.CodebookLearning(revive_after=None, entropy_constraint=constraint)
    return nw.VectorQuantizer(512, 64, learning=learning)


def training_step(name: str) -> Callable[[], None]:
    """One step of a model with the default network on random images."""
    torch.manual_seed(0)
    model = nw.Autoencoder.for_images((3, 32, 32), bottleneck(name)).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    images = torch.rand(BATCH, 3, 32, 32)

    def step() -> None:
        loss = model.loss(images)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        model.update(images, loss)

    return step


def seconds(step: Callable[[], None]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def compare(ours: str, baseline: str, rounds: int) -> dict[str, float]:
    """Median milliseconds of both, and the median of their ratios, taken in turns."""
    steps = {name: training_step(name) for name in (ours, baseline)}
    for step in steps.values():
        for _ in range(3):
            step()
    pairs = [(seconds(steps[ours]), seconds(steps[baseline])) for _ in range(rounds)]
    return {
        "ms": 1e3 * statistics.median(one for one, _ in pairs),
        "baseline ms": 1e3 * statistics.median(two for _, two in pairs),
        "ratio": statistics.median(one / two for one, two in pairs),
    }


def main() -> None:
    """Prints a line for each pair."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--ledger", action="store_true", help="append to evidence/")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for ours, baseline in (("rounded", "ae"), ("vq-entropy", "vq")):
        row = compare(ours, baseline, options.rounds)
        print(f"{ours} over {baseline}: {row['ratio']:.3f} ({row['ms']:.0f} ms a step)")
        if options.ledger:
            record("rounded-step", f"{ours} over {baseline}", row, rounds=options.rounds)


if __name__ == "__main__":
    main()
