"""Bits and distortion of one trained model per latent family, under several priors each.

Same networks, same data, same number of epochs; only the bottleneck differs. Bits are measured
twice: the prior's cross-entropy on test codes, and the size of real files of 1,000 test images
(without their 49-byte header). Distortion is that of the decoded file.

    NARROWS_DATA=FOLDER python benchmarks/rate_distortion.py train vq --out results
    NARROWS_DATA=FOLDER python benchmarks/rate_distortion.py priors vq --out results
    python benchmarks/rate_distortion.py table --out results
"""

import argparse
import dataclasses
import json
import math
import time
from pathlib import Path

import torch
from torch import Tensor

import narrows as nw
from narrows.bottlenecks import OMP, Identity, SparseDictionary, Variational, VectorQuantizer
from narrows.codec.container import overhead
from narrows.data.base import Dataset
from narrows.likelihoods import DiscretizedLogisticMixture
from narrows.networks import Conv
from narrows.priors import (
    CategoricalPrior,
    Prior,
    QuantizedHistogram,
    SparseFactorial,
    SparsePrior,
    fit_in_one_pass,
    fit_pixelcnn,
    fit_sparse,
    fit_transformer,
)
from narrows.priors.fitting import bits, latents
from narrows.report.images import tile, to_png
from narrows.training.run import environment

FAMILIES = {
    "vq": lambda: VectorQuantizer(64, 16),
    "sparse": lambda: SparseDictionary(64, 16, OMP(2)),
    "plain": lambda: Identity(2),
    "vae": lambda: Variational(2),
    "vae-8bit": lambda: Variational(2),
}
FILES = 1000  # test images that are written to real files


def subset(name: str, train: int) -> Dataset:
    """The first examples of each split."""
    data = nw.data.load(name)
    return dataclasses.replace(
        data,
        train=data.train.head(train),
        validation=data.validation.head(2000),
        test=data.test.head(2000),
    )


def train(arguments: argparse.Namespace) -> None:
    data = subset(arguments.data, arguments.train)
    torch.manual_seed(arguments.seed)
    likelihood = DiscretizedLogisticMixture(5) if arguments.family == "vae-8bit" else None
    bottleneck = FAMILIES[arguments.family]()
    model = nw.Autoencoder.for_images(
        data.shape, bottleneck, Conv(32, residual_hidden=16), likelihood
    )
    folder = arguments.out / arguments.family
    nw.fit(model, data, epochs=arguments.epochs, batch_size=128, seed=arguments.seed, show=True)
    model.save(folder)
    print("trained", folder)


def fitted(family: str, model: nw.Autoencoder, data: Dataset, epochs: int):
    """Name and prior of everything tried on a family; learned ones last."""
    sites = model.prior.sites
    if family == "vq":
        yield "uniform", CategoricalPrior(64, sites)
        yield "histogram", fit_in_one_pass(CategoricalPrior(64, sites), model, data)
        yield "PixelCNN", fit_pixelcnn(model, data, width=32, layers=4, epochs=epochs)
        yield (
            "transformer",
            fit_transformer(model, data, width=64, depth=2, epochs=max(1, epochs // 2)),
        )
    elif family == "sparse":
        for step in (0.5, 1.0, 2.0):
            floor = SparseFactorial(sites, 64, step)
            yield f"factorial, step {step:g}", fit_in_one_pass(floor, model, data)
        mixture = SparsePrior(sites, 64, 1.0)
        yield "support mixture, step 1", fit_in_one_pass(mixture, model, data)
        tokens = fit_sparse(model, data, step=1.0, features=32, depth=1, epochs=2)
        yield "tokens, step 1", tokens
    elif family in ("plain", "vae"):
        for fraction in (0.25, 0.5, 1.0):
            prior = QuantizedHistogram(sites, 2, fraction=fraction)
            yield f"histogram, step {fraction:g} sd", fit_in_one_pass(prior, model, data)


def priors(arguments: argparse.Namespace) -> None:
    data = subset(arguments.data, arguments.train)
    model = nw.Autoencoder.load(arguments.out / arguments.family)
    rows = []
    if arguments.family in ("vae", "vae-8bit"):
        rows.append(bound(arguments.family, model, data))
    for name, prior in fitted(arguments.family, model, data, arguments.epochs):
        rows.append({"family": arguments.family, "prior": name} | measure(model, prior, data))
        draw(model, prior, arguments.out / f"{arguments.family}-{name.replace(' ', '-')}.png")
        print(json.dumps(rows[-1]))
        path = arguments.out / f"{arguments.family}.json"
        path.write_text(json.dumps({"rows": rows, "environment": environment()}, indent=1))
    if rows:
        path = arguments.out / f"{arguments.family}.json"
        path.write_text(json.dumps({"rows": rows, "environment": environment()}, indent=1))


def draw(model: nw.Autoencoder, prior: Prior, path: Path) -> None:
    """A grid of 32 samples of the prior."""
    images = model.decode(prior.sample(32, torch.Generator().manual_seed(0)))
    path.write_bytes(to_png(tile(images.numpy(), 8)))


def measure(model: nw.Autoencoder, prior: Prior, data: Dataset) -> dict[str, float]:
    """Estimated and real bits, distortion of what the file decodes to."""
    codec = nw.codec.Codec(model, prior)
    images = data.test.images[:FILES]
    began = time.perf_counter()
    blob = codec.compress(images)
    wrote = time.perf_counter() - began
    decoded = codec.decompress(blob)
    estimated = bits(prior, latents(model, data.test.head(FILES)))
    report = getattr(prior, "report", None)
    return {
        "estimated_bits": estimated,
        "file_bits": 8 * (len(blob) - overhead(3)) / FILES,
        "seconds_to_write": wrote,
        "fit_seconds": report.seconds if report else 0.0,
        **distortion(images, decoded, data),
    }


def bound(family: str, model: nw.Autoencoder, data: Dataset) -> dict[str, object]:
    """KL of a variational model; for 8-bit likelihoods also lossless bits-back bytes."""
    head, images = data.test.head(FILES), data.test.images[:FILES]
    x = images.float() / 255
    torch.manual_seed(0)
    kl = bits(model.prior, latents(model, head))
    with torch.no_grad():
        draw = model.decode(model.latent(x).posterior.sample())
    row = {"family": family, "prior": "KL", "estimated_bits": kl, **distortion(x, draw, data)}
    if family == "vae-8bit":
        codec = nw.codec.Codec(model, lossless=True)
        blob = codec.compress(images)
        row["lossless_file_bits"] = 8 * (len(blob) - overhead(3)) / FILES
        row["lossless_exact"] = bool(torch.equal(codec.decompress(blob), images))
        row["lossless_estimated_bits"] = kl + pixels(model, x)
    print(json.dumps(row))
    return row


@torch.no_grad()
def pixels(model: nw.Autoencoder, x: Tensor) -> float:
    """Mean bits of the image given a draw of its code, over 4 draws."""
    latent = model.latent(x)
    nats = 0.0
    for _ in range(4):
        z = model.bottleneck.embed(latent.posterior.sample())
        nats -= float(model.likelihood.log_prob(x, model.decoder(z)).mean()) / 4
    return nats / math.log(2)


def distortion(images: Tensor, decoded: Tensor, data: Dataset) -> dict[str, float]:
    """MSE over values in [0, 1], NMSE over the training data's variance, PSNR in dB."""
    a, b = ((t.float() / 255 if t.dtype == torch.uint8 else t) for t in (images, decoded))
    mse = float((a - b).square().mean())
    return {"mse": mse, "nmse": mse / data.variance, "psnr": -10 * math.log10(mse)}


def table(arguments: argparse.Namespace) -> None:
    print("| latent | prior | bits/image | bits/image in file | bits/dim | PSNR dB | NMSE |")
    print("|---|---|---|---|---|---|---|")
    for path in sorted(arguments.out.glob("*.json")):
        for row in json.loads(path.read_text())["rows"]:
            file = row.get("file_bits")
            print(
                f"| {row['family']} | {row['prior']} | {row['estimated_bits']:.1f} | "
                f"{'' if file is None else f'{file:.1f}'} | {row['estimated_bits'] / 784:.4f} | "
                f"{row['psnr']:.2f} | {row['nmse']:.4f} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["train", "priors", "table"])
    parser.add_argument("family", nargs="?", choices=FAMILIES)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--train", type=int, default=20000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("rate-distortion"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    {"train": train, "priors": priors, "table": table}[arguments.action](arguments)


if __name__ == "__main__":
    main()
