"""Incremental sampling against evaluating the whole map for every site: ratios in one run.

Both draw from the same frozen network with the same seed; the samples are compared bit for bit.

    python benchmarks/priors.py --threads 2 --out benchmarks/priors.json
"""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from narrows.functional.fixed_point import draw, freeze, masses
from narrows.priors import AutoregressiveTransformer, PixelCNN
from narrows.training.run import environment


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


def compare(name: str, prior: torch.nn.Module, whole: Callable, repeats: int) -> dict[str, object]:
    """Interleaved repeats; the ratio of the fastest of each, and the median ratio."""
    prior.sample(1)  # tables and threads are set up outside the timing
    fast, slow, equal = [], [], True
    for seed in range(repeats):
        one, a = seconds(lambda s=seed: prior.sample(64, torch.Generator().manual_seed(s)))
        two, b = seconds(lambda s=seed: whole(prior, 64, torch.Generator().manual_seed(s)))
        fast.append(one)
        slow.append(two)
        equal = equal and torch.equal(a, b)
    row = {
        "prior": name,
        "parameters": sum(p.numel() for p in prior.parameters()),
        "cached_seconds": min(fast),
        "whole_seconds": min(slow),
        "ratio_of_minima": min(slow) / min(fast),
        "median_ratio": statistics.median(b / a for a, b in zip(fast, slow, strict=True)),
        "bit_for_bit": equal,
    }
    print(json.dumps(row))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rows = [
        compare("PixelCNN 8x8 K=512", PixelCNN((8, 8), 512), pixelcnn_whole, arguments.repeats),
        compare(
            "transformer 8x8 K=512",
            AutoregressiveTransformer((8, 8), 512),
            transformer_whole,
            arguments.repeats,
        ),
    ]
    if arguments.out:
        record = {"samples": 64, "rows": rows, "environment": environment()}
        arguments.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
