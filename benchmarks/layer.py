"""The layer beside vector-quantize-pytorch's, in a training step of one module.

    OMP_NUM_THREADS=1 python -m benchmarks.layer [--rounds 12] [--ledger]

Steps are interleaved; ratios are medians over rounds. The features are random and need a gradient,
as they would behind an encoder; both pass it straight through. "Layer over bare bottleneck" is what
the layer itself adds to a step of about 10 ms, by the shortest of 200 steps of each.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from vector_quantize_pytorch import ResidualVQ, VectorQuantize

import narrows as nw
from evidence.benchmarks import record

SIZES = ((16384, 64, 512), (65536, 64, 1024), (16384, 256, 8192))
STAGES = 8


def ours(bottleneck: nw.Bottleneck, x: Tensor) -> Callable[[], None]:
    """A step through the layer; the optimiser's step moves the codes."""
    layer = nw.Layer(bottleneck, axis=-1)
    optimizer = torch.optim.SGD([x], lr=0.0)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        z, _, loss = layer(x)
        (z.sum() + loss).backward()
        optimizer.step()

    return step


def bare(bottleneck: nw.Bottleneck, x: Tensor) -> Callable[[], None]:
    """The same by hand."""
    optimizer = torch.optim.SGD([x], lr=0.0)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        latent = bottleneck(x)
        terms = sum(w * latent.terms[name].mean() for name, w in bottleneck.weights.items())
        (latent.z.sum() + terms).backward()
        optimizer.step()
        bottleneck.update([latent])

    return step


def theirs(quantizer: torch.nn.Module, x: Tensor) -> Callable[[], None]:
    """A step of the peer's, whose codes move in the forward pass."""
    optimizer = torch.optim.SGD([x], lr=0.0)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        quantized, _, loss = quantizer(x)
        (quantized.sum() + loss.sum()).backward()
        optimizer.step()

    return step


def seconds(step: Callable[[], None]) -> float:
    """Of one step."""
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def compare(contestants: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each, in turns, after one step that is not counted."""
    for step in contestants.values():
        step()
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, step in contestants.items():
            found[name].append(seconds(step))
    return found


def ratio(found: dict[str, list[float]], one: str, other: str) -> float:
    """Median over rounds."""
    return statistics.median(a / b for a, b in zip(found[one], found[other], strict=True))


def main() -> None:
    """Measures, prints, and appends to the ledger if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--ledger", action="store_true", help="append to evidence/benchmarks.jsonl")
    options = parser.parse_args()
    for n, dim, size in SIZES:
        x = torch.randn(1, n, dim).requires_grad_()
        found = compare(
            {
                "layer": ours(nw.VectorQuantizer(size, dim), x),
                "peer": theirs(
                    VectorQuantize(dim=dim, codebook_size=size, rotation_trick=False), x
                ),
            },
            options.rounds if size < 8192 else max(3, options.rounds // 4),
        )
        report(f"{n:,} x {dim}, {size:,} codes", found, options)
    x = torch.randn(1, 10000, 64).requires_grad_()  # a step of about 10 ms
    pair = {
        "layer": ours(nw.VectorQuantizer(512, 64), x),
        "bare": bare(nw.VectorQuantizer(512, 64), x),
    }
    report("10,000 x 64, 512 codes, the shortest of many steps", compare(pair, 200), options)
    x = torch.randn(1, 16384, 64).requires_grad_()
    residual = nw.ResidualQuantizer(nw.VectorQuantizer(512, 64), stages=STAGES)
    peer = ResidualVQ(dim=64, codebook_size=512, num_quantizers=STAGES, rotation_trick=False)
    found = compare({"layer": ours(residual, x), "peer": theirs(peer, x)}, options.rounds // 2)
    report(f"16,384 x 64, {STAGES} stages of 512 codes", found, options)


def report(of: str, found: dict[str, list[float]], options: argparse.Namespace) -> None:
    """One row."""
    figures = {
        "layer, ms": round(1e3 * statistics.median(found["layer"]), 2),
    }
    if "peer" in found:
        figures["vector-quantize-pytorch over layer"] = round(ratio(found, "peer", "layer"), 2)
    else:
        figures["layer over bare bottleneck"] = round(min(found["layer"]) / min(found["bare"]), 3)
    print(of, figures, flush=True)
    if options.ledger:
        record("layer-step", of, figures, threads=torch.get_num_threads(), rounds=options.rounds)


if __name__ == "__main__":
    main()
