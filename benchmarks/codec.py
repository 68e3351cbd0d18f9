"""Codec throughput on CIFAR-size images: VQ indices under a histogram prior.

Coding alone (indices to bytes and back) and with the networks, both in images per second. The
network's weights are random, as they do not change the time; the codebook is drawn from features
(one update), so that the indices use it and have the entropy that is printed.

    python -m benchmarks.codec --threads 2 [--ledger]
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

import narrows as nw
from evidence.benchmarks import record
from narrows.codec.entropy import Reader, Writer
from narrows.codes import concatenate
from narrows.functional.conditionals import follow
from narrows.networks import Conv


def best(function: Callable[[], Any], repeats: int) -> tuple[float, float, Any]:
    """Fewest and median seconds, and the result."""
    times = []
    result = None
    for _ in range(repeats):
        began = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - began)
    return min(times), statistics.median(times), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--hidden", type=int, default=32, help="channels of the network")
    parser.add_argument("--ledger", action="store_true", help="append to evidence/benchmarks.jsonl")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    network = Conv(arguments.hidden, residual_hidden=arguments.hidden // 2)
    bottleneck = nw.bottlenecks.VectorQuantizer(512, 64)
    model = nw.Autoencoder.for_images((3, 32, 32), bottleneck, network=network)
    n = arguments.images
    images = (torch.rand(n, 3, 32, 32) * 255).byte()
    with torch.no_grad():
        bottleneck.update([model.train().latent(images[:256].float() / 255)])
    model.eval()
    with torch.no_grad():
        latents = [model.latent(part.float() / 255) for part in images.split(256)]
    prior = model.prior.fit(latents)
    code = concatenate([latent.code for latent in latents])
    codec = nw.Codec(model)

    def write() -> bytes:
        writer = Writer()
        follow(prior.conditionals(n, code), writer.put)
        return writer.finish()

    payload, blob = write(), codec.compress(images)
    entropy = float(prior.rate(latents[0]).mean()) / math.log(2) / 64
    print(f"{n} images, {entropy:.2f} bits an index")
    for name, function in (
        ("indices to bytes", write),
        ("bytes to indices", lambda: follow(prior.conditionals(n), Reader(payload).take)),
        ("compress, network included", lambda: codec.compress(images)),
        ("decompress, network included", lambda: codec.decompress(blob)),
    ):
        least, median, _ = best(function, arguments.repeats)
        print(f"{name}: {n / least:,.0f} images/s (median {n / median:,.0f})")
        if arguments.ledger:
            about = {"images": n, "hidden": arguments.hidden, "threads": arguments.threads}
            record("codec", name, {"images/s": round(n / least)}, **about)


if __name__ == "__main__":
    main()
