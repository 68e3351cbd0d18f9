"""Trains the one-layer network of Burda et al. (2016) on MNIST and estimates its likelihood.

Dynamic binarisation: each pixel is 1 with its grey value's probability, drawn anew whenever an
image is shown; the test images are binarised once, from the seed. 50 normal latents, two hidden
layers of 200 tanh units on either side, Adam (beta_2 = 0.999, epsilon = 1e-4), batches of 20, and
the paper's schedule: 3^i passes at rate 10^-3 * 10^(-i/7), i = 0 ... 7 (3280 passes in all).

A short run is the beginning of the full one: `--passes P` stops after P passes and `--seconds S`
after S seconds, whichever comes first.

`--schedule ours` trains the same network in far fewer updates: batches of 200, Adam with its
default epsilon, the learning rate warmed up and then lowered to 0 along a cosine over `--passes`
passes, and a moving average of the weights, which is what is tested. With `--keep FOLDER` the
state is written after every tenth pass, and the same command goes on from there.

    python -m benchmarks.mnist_likelihood --objective vae --passes 3280
    python -m benchmarks.mnist_likelihood --objective vae --schedule ours --passes 600 --test 10000
"""

import argparse
import itertools
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import narrows as nw
from evidence.benchmarks import record
from narrows.metrics.likelihood import importance_estimate
from narrows.networks import Network
from narrows.objectives import ImportanceWeighted

STAGES = 8
DRAWS = {"vae": 1, "iwae5": 5, "iwae": 50}
NAMES = {"vae": "VAE", "iwae5": "IWAE, K = 5", "iwae": "IWAE, K = 50"}
PUBLISHED = {"vae": 86.76, "iwae5": 85.54, "iwae": 84.78}  # Burda et al. (2016), table 1
AVERAGE = 0.9995


class TanhMlp(Network):
    """Two hidden layers of tanh units, with the paper's initial weights (Glorot & Bengio)."""

    def __init__(self, hidden: int = 200) -> None:
        self.hidden = hidden

    def sites(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """One site: the whole image."""
        del shape
        return ()

    def encoder(self, shape: tuple[int, ...], features: int) -> nn.Module:
        """Images to features."""
        pixels = shape[0] * shape[1] * shape[2]
        return nn.Sequential(nn.Flatten(), *self._layers(pixels, features))

    def decoder(self, shape: tuple[int, ...], features: int, channels: int) -> nn.Module:
        """Latents to logits."""
        target = (channels, *shape[1:])
        pixels = channels * shape[1] * shape[2]
        return nn.Sequential(*self._layers(features, pixels), nn.Unflatten(1, target))

    def _layers(self, before: int, after: int) -> list[nn.Module]:
        widths = [before, self.hidden, self.hidden, after]
        layers: list[nn.Module] = []
        for one, two in itertools.pairwise(widths):
            linear = nn.Linear(one, two)
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.Tanh()]
        return layers[:-1]


def build(objective: str, train: Tensor) -> nw.Autoencoder:
    """The model, its output bias at the logit of the mean image."""
    model = nw.Autoencoder.for_images(
        (1, 28, 28),
        nw.bottlenecks.Variational(50),
        network=TanhMlp(),
        likelihood=nw.likelihoods.Bernoulli(),
        objective=ImportanceWeighted(DRAWS[objective]) if DRAWS[objective] > 1 else None,
    )
    mean = train.mean(0).clamp(0.001, 0.999).logit()
    with torch.no_grad():
        cast(nn.Linear, model.decoder.get_submodule("4")).bias.copy_(mean.flatten())
    return model


def rate_at(done: float) -> float:
    """The paper's learning rate after so many passes over the data."""
    ends = itertools.accumulate(3**i for i in range(STAGES))
    stage = next((i for i, end in enumerate(ends) if done < end), STAGES - 1)
    return 1e-3 * 10 ** (-stage / 7)


def ours(passes: float, peak: float) -> Callable[[float], float]:
    """Warm-up over the first hundredth, then half a cosine down to 0 at the last pass."""

    def rate(done: float) -> float:
        progress = min(done / passes, 1.0)
        return peak * min(progress / 0.01, 1.0) * 0.5 * (1 + math.cos(math.pi * progress))

    return rate


@dataclass
class State:
    """All that the next step depends on, in one file."""

    model: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator

    def write(self, path: Path, seconds: float, steps: int) -> None:
        """Whole or not at all."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for i, one in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": v for k, v in one.items()}
        tensors["order"], tensors["noise"] = self.generator.get_state(), torch.get_rng_state()
        tensors["progress"] = torch.tensor([seconds, steps], dtype=torch.float64)
        partial = path.with_suffix(".partial")
        save_file({k: v.contiguous().clone() for k, v in tensors.items()}, partial)
        partial.replace(path)

    def read(self, path: Path | None) -> tuple[float, int]:
        """Seconds and steps so far; nothing is changed if there is no file."""
        if path is None or not path.is_file():
            return 0.0, 0
        tensors = load_file(path)
        groups: dict[str, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            group, _, rest = name.partition(".")
            groups.setdefault(group, {})[rest] = value
        self.model.load_state_dict(groups["model"])
        self.average.load_state_dict(groups["average"])
        known = self.optimizer.state_dict()
        for name, value in groups["optimizer"].items():
            i, key = name.split(".")
            known["state"].setdefault(int(i), {})[key] = value
        self.optimizer.load_state_dict(known)
        self.generator.set_state(tensors["order"])
        torch.set_rng_state(tensors["noise"])
        seconds, steps = tensors["progress"].tolist()
        return seconds, int(steps)


def train(
    model: nw.Autoencoder, images: Tensor, options: argparse.Namespace
) -> tuple[nw.Autoencoder, dict[str, float]]:
    """Runs the schedule until the passes are done or the time is up.

    Returns:
        The model to test (the moving average of the weights under our schedule), and how far
        training came.
    """
    passes, seconds, batch = options.passes, options.seconds, options.batch
    paper = options.schedule == "paper"
    rate_of = rate_at if paper else ours(passes, options.rate)
    generator = torch.Generator(images.device).manual_seed(options.seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-4 if paper else 1e-8)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE))
    state = State(model, average, optimizer, generator)
    before, steps = state.read(options.keep)
    began, per_pass = time.perf_counter() - before, len(images) // batch
    done = steps / per_pass
    model.train()
    while done < passes and time.perf_counter() - began < seconds:
        order = torch.randperm(len(images), generator=generator, device=images.device)
        for index in order[: per_pass * batch].view(-1, batch):
            optimizer.param_groups[0]["lr"] = rate = rate_of(done)
            x = torch.bernoulli(images[index], generator=generator)
            loss = model.loss(x)
            optimizer.zero_grad(set_to_none=True)
            loss.total.backward()
            optimizer.step()
            steps += 1
            if not paper:
                average.update_parameters(model)
            done = steps / per_pass
            if done >= passes or time.perf_counter() - began > seconds:
                break
        line = f"pass {done:.2f} rate {rate:.2e} loss {float(loss.total.detach()):.2f}"
        print(f"{line} {time.perf_counter() - began:.0f} s", flush=True)
        if options.keep and round(done) % 10 == 0:
            state.write(options.keep, time.perf_counter() - began, steps)
    figures = {"passes": done, "steps": steps, "seconds": time.perf_counter() - began}
    return (model if paper else cast(nw.Autoencoder, average.module)), figures


def main() -> None:
    """Trains, estimates, prints one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objective", choices=list(PUBLISHED), default="vae")
    parser.add_argument("--passes", type=float, default=3280)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--schedule", choices=["paper", "ours"], default="paper")
    parser.add_argument("--rate", type=float, default=2e-3, help="peak rate of our schedule")
    parser.add_argument("--batch", type=int, help="default: 20 in the paper's schedule, else 200")
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--keep", type=Path, help="file that holds the state between sittings")
    parser.add_argument("--ledger", action="store_true", help="append to evidence/benchmarks.jsonl")
    options = parser.parse_args()
    options.batch = options.batch or (20 if options.schedule == "paper" else 200)
    torch.manual_seed(options.seed)
    data = nw.data.load("mnist")
    parts = (data.train, data.validation)  # the paper trains on all 60,000
    images = torch.cat([part.batch(torch.arange(len(part))) for part in parts]).to(options.device)
    model = build(options.objective, images.cpu()).to(options.device)
    model, figures = train(model, images, options)
    grey = data.test.batch(torch.arange(options.test))
    generator = torch.Generator().manual_seed(options.seed + 1)
    test = torch.bernoulli(grey, generator=generator)
    estimate = importance_estimate(model, test, draws=options.draws)
    bound = importance_estimate(model, test, draws=1)
    report = {
        "objective": options.objective,
        "schedule": options.schedule,
        "seed": options.seed,
        "batch": options.batch,
        "threads": torch.get_num_threads(),
        "device": options.device,
        **figures,
        "test_images": options.test,
        "draws": options.draws,
        "nll": estimate.mean,
        "standard_error": estimate.standard_error,
        "elbo_nll": bound.mean,
        "median_effective_sample_size": float(estimate.effective_sample_size.median()),
        "published": PUBLISHED[options.objective],
    }
    print(json.dumps(report))
    if options.ledger:
        name = NAMES[options.objective]
        figures = {
            "updates": report["steps"],
            "-log p(x), nats": round(estimate.mean, 2),
            "standard error over images": round(estimate.standard_error, 2),
            "one-draw bound, nats": round(bound.mean, 2),
            "median effective sample size of 5,000": round(report["median_effective_sample_size"]),
            "published at 3280 passes": report["published"],
        }
        of = f"{name}, {report['passes']:.1f} passes of 3280"
        how = {}
        if options.schedule == "ours":
            of = f"{name}, our schedule, {report['passes']:.0f} of {options.passes:.0f} passes"
            how = {"batch": options.batch, "peak_rate": options.rate, "seed": options.seed}
        record("mnist-likelihood", of, figures, draws=options.draws, **how)


if __name__ == "__main__":
    main()
