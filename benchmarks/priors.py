"""Incremental sampling against evaluating the whole map for every site: ratios in one run.

Both draw from the same frozen network with the same seed; the samples are compared bit for bit.

    python -m benchmarks.priors --threads 2 [--ledger]
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from evidence.benchmarks import record
from narrows.functional.fixed_point import draw, freeze, masses
from narrows.priors import AutoregressiveTransformer, PixelCNN


@torch.no_grad()
def pixelcnn_whole(prior: PixelCNN, n: int, generator: torch.Generator) -> Tensor:
    """Evaluates the whole map anew for every site."""
    exact = freeze(prior)
    code = torch.zeros(n, *prior.sites, dtype=torch.long)
    for r, c in itertools.product(*map(range, prior.sites)):
        uniform = torch.rand(n, generator=generator, dtype=torch.float64)
        code[:, r, c] = draw(masses(exact.logits(code)[:, r, c]), uniform)
    return code


@torch.no_grad()
def transformer_whole(
    prior: AutoregressiveTransformer, n: int, generator: torch.Generator
) -> Tensor:
    """Evaluates the whole sequence anew for every token."""
    exact = freeze(prior)
    code = torch.zeros(n, *prior.sites, dtype=torch.long)
    flat = code.view(n, -1)
    for t in range(flat.shape[1]):
        uniform = torch.rand(n, generator=generator, dtype=torch.float64)
        flat[:, t] = draw(masses(exact.logits(code)[:, t]), uniform)
    return code


def seconds(function: Callable[[], Tensor]) -> tuple[float, Tensor]:
    began = time.perf_counter()
    result = function()
    return time.perf_counter() - began, result


def compare(name: str, prior: Any, whole: Callable, repeats: int) -> dict[str, object]:
    """Interleaved repeats; the ratio of the fastest of each, and the median ratio."""
    prior.sample(1)  # tables and threads are set up outside the timing
    fast, slow, equal = [], [], True
    for seed in range(repeats):
        one, a = seconds(lambda s=seed: prior.sample(64, torch.Generator().manual_seed(s)))
        two, b = seconds(lambda s=seed: whole(prior, 64, torch.Generator().manual_seed(s)))
        fast.append(one)
        slow.append(two)
        equal = equal and torch.equal(a, b)
    ratio = statistics.median(b / a for a, b in zip(fast, slow, strict=True))
    print(f"{name}: median ratio {ratio:.1f}, {'equal' if equal else 'NOT EQUAL'} bit for bit")
    return {
        "parameters": sum(p.numel() for p in prior.parameters()),
        "cached, s": round(min(fast), 3),
        "whole map for every site, s": round(min(slow), 2),
        "ratio": round(min(slow) / min(fast), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ledger", action="store_true", help="append to evidence/benchmarks.jsonl")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    for name, prior, whole in (
        ("PixelCNN", PixelCNN((8, 8), 512), pixelcnn_whole),
        ("transformer", AutoregressiveTransformer((8, 8), 512), transformer_whole),
    ):
        row = compare(name, prior, whole, arguments.repeats)
        print(name, row, flush=True)
        if arguments.ledger:
            record("priors-sampling", name, row, threads=arguments.threads)


if __name__ == "__main__":
    main()
