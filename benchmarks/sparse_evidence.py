"""Distortion against bits of sparse codes on real images, by code, gradient and seed.

    python -m benchmarks.sparse_evidence mnist --steps 300 [--ledger]
    python -m benchmarks.sparse_evidence cifar10 --steps 250 [--ledger]

Same networks, same images, same number of steps; only the bottleneck differs. After training,
each step of quantisation Delta gets its own factorial prior, fitted to training codes in one
pass; bits and distortion are those of the stored code, on test images. The vector quantiser
beside them pays the entropy of its codes under the prior it comes with, fitted alike.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import narrows as nw
from evidence.benchmarks import record
from narrows.bottlenecks import (
    OMP,
    Bottleneck,
    Coder,
    Lasso,
    ResidualQuantizer,
    SparseDictionary,
    TopK,
    VectorQuantizer,
)
from narrows.latent import Latent
from narrows.priors import SparseFactorial

STEPS_OF_QUANTISATION = (4.0, 2.0, 1.0, 0.5)
SETTINGS = {
    "mnist": {"hidden": 32, "size": 128, "dim": 16, "active": 3},
    "cifar10": {"hidden": 32, "size": 256, "dim": 32, "active": 4},
}


def contestants(size: int, dim: int, active: int, shrunken: bool) -> dict[str, Bottleneck]:
    codes: dict[str, tuple[Coder, float | None]] = {
        "TopK": (TopK(active), None),
        "OMP": (OMP(active), None),
        "Lasso": (Lasso(0.4), float(active)),
    }
    if shrunken:
        codes["TopK, not refitted"] = (TopK(active, refit=False), None)
        codes["Lasso, not refitted"] = (Lasso(0.4, refit=False), float(active))
    made: dict[str, Bottleneck] = {
        "VQ": VectorQuantizer(size, dim),
        f"RVQ of {active}": ResidualQuantizer(VectorQuantizer(size, dim), active),
    }
    for gradient in ("straight_through", "implicit"):
        for name, (code, target) in codes.items():
            made[f"{name}, {gradient}"] = SparseDictionary(
                size, dim, coder=code, gradient=gradient, target_l0=target
            )
    return made


def train(model: nw.Autoencoder, images: Tensor, steps: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    model.train()
    for _ in range(steps):
        x = images[torch.randint(len(images), (64,), generator=generator)].float() / 255
        optimiser.zero_grad()
        loss = model.loss(x)
        loss.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        model.bottleneck.update([loss.latent])


@torch.no_grad()
def latents(model: nw.Autoencoder, images: Tensor) -> Iterator[Latent]:
    for part in images.split(250):
        yield model.latent(part.float() / 255)


@torch.no_grad()
def measure(model: nw.Autoencoder, train_images: Tensor, test: Tensor) -> dict[str, Any]:
    model.eval()
    variance = (train_images.float() / 255).var().item()
    x = test.float() / 255
    if not isinstance(model.bottleneck, SparseDictionary):
        priors = {0.0: model.bottleneck.default_prior(model.sites)}
    else:
        priors = {
            step: SparseFactorial(model.sites, model.bottleneck.size, step=step)
            for step in STEPS_OF_QUANTISATION
        }
    totals: dict[str, Tensor] = {}
    for latent in latents(model, test):
        totals = {n: v.double() + totals.get(n, 0.0) for n, v in latent.stats.items()}
    summary = model.bottleneck.summary(totals, len(test))
    exact = sum(
        (model.likelihood.mean(model.decoder(latent.z)) - part).square().sum().item()
        for latent, part in zip(latents(model, test), x.split(250), strict=True)
    )
    points = []
    for step, prior in priors.items():
        prior.fit(latents(model, train_images[:1000]))
        model.prior = prior
        bits = torch.cat([model.bits(part) for part in x.split(250)]).mean().item()
        error = torch.cat([model.reconstruct(part) for part in x.split(250)]) - x
        nmse = error.square().mean().item() / variance
        points.append({"step": step, "bits": bits, "nmse": nmse})
    return {"l0": summary.get("l0"), "nmse_unquantised": exact / x.numel() / variance,
            "dead": summary.get("dead_atoms"), "points": points}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", choices=SETTINGS)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--not-refitted", action="store_true", help="also TopK and lasso as is")
    parser.add_argument("--ledger", action="store_true", help="append to evidence/benchmarks.jsonl")
    arguments = parser.parse_args()
    settings = dict(SETTINGS[arguments.data])
    hidden = settings.pop("hidden")
    data = nw.data.load(arguments.data, arguments.root)
    images, test = data.train.images[: arguments.images], data.test.images[:1000]
    rows = []
    for seed in arguments.seeds:
        torch.manual_seed(seed)
        for name, bottleneck in contestants(**settings, shrunken=arguments.not_refitted).items():
            torch.manual_seed(seed)
            network = nw.networks.Conv(hidden, residual_layers=1, residual_hidden=16)
            model = nw.Autoencoder.for_images(data.shape, bottleneck, network=network)
            begun = time.perf_counter()
            train(model, images, arguments.steps, seed)
            row: dict[str, Any] = measure(model, images, test)
            row["seconds"] = time.perf_counter() - begun
            rows.append({"name": name, **row})
            print(name, seed, row["l0"], row["points"][-2:], f"{row['seconds']:.1f} s", flush=True)
            if arguments.ledger:
                about = {"seed": seed, "steps": arguments.steps, "images": len(images)}
                record(f"sparse-{arguments.data}", name, row, **about)
    for name in dict.fromkeys(row["name"] for row in rows):
        mine = [row for row in rows if row["name"] == name]
        nmse = [row["nmse_unquantised"] for row in mine]
        print(f"{name:28s} nmse {statistics.mean(nmse):.4f} +- {statistics.pstdev(nmse):.4f}")


if __name__ == "__main__":
    main()
