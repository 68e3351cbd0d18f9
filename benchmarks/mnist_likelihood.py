"""Trains the one-layer network of Burda et al. (2016) on MNIST and estimates its likelihood.

Dynamic binarisation: each pixel is 1 with its grey value's probability, drawn anew whenever an
image is shown; the test images are binarised once, from the seed. 50 normal latents, two hidden
layers of 200 tanh units on either side, Adam (beta_2 = 0.999, epsilon = 1e-4), batches of 20, and
the paper's schedule: 3^i passes at rate 10^-3 * 10^(-i/7), i = 0 ... 7 (3280 passes in all).

A short run is the beginning of the full one: `--passes P` stops after P passes and `--seconds S`
after S seconds, whichever comes first.

    python -m benchmarks.mnist_likelihood --objective vae --passes 3280
"""

import argparse
import itertools
import json
import time

import torch
from torch import Tensor, nn

import narrows as nw
from evidence.benchmarks import record
from narrows.metrics.likelihood import importance_estimate
from narrows.networks import Network
from narrows.objectives import ImportanceWeighted

STAGES = 8
PUBLISHED = {"vae": 86.76, "iwae": 84.78}  # Burda et al. (2016), table 1, k = 1 and k = 50


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
        objective=ImportanceWeighted(50) if objective == "iwae" else None,
    )
    mean = train.mean(0).clamp(0.001, 0.999).logit()
    with torch.no_grad():
        model.decoder[-2].bias.copy_(mean.flatten())
    return model


def rate_at(done: float) -> float:
    """The paper's learning rate after so many passes over the data."""
    ends = itertools.accumulate(3**i for i in range(STAGES))
    stage = next((i for i, end in enumerate(ends) if done < end), STAGES - 1)
    return 1e-3 * 10 ** (-stage / 7)


def train(
    model: nw.Autoencoder, images: Tensor, passes: float, seconds: float, batch: int, seed: int
) -> dict[str, float]:
    """Runs the schedule until the passes are done or the time is up; says how far it came."""
    generator = torch.Generator(images.device).manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-4)
    began, steps, per_pass = time.perf_counter(), 0, len(images) // batch
    done = 0.0
    model.train()
    while done < passes and time.perf_counter() - began < seconds:
        order = torch.randperm(len(images), generator=generator, device=images.device)
        for index in order[: per_pass * batch].view(-1, batch):
            optimizer.param_groups[0]["lr"] = rate = rate_at(done)
            x = torch.bernoulli(images[index], generator=generator)
            loss = model.loss(x)
            optimizer.zero_grad(set_to_none=True)
            loss.total.backward()
            optimizer.step()
            steps += 1
            done = steps / per_pass
            if done >= passes or time.perf_counter() - began > seconds:
                break
        print(f"pass {done:.2f} rate {rate:.2e} {time.perf_counter() - began:.0f} s", flush=True)
    return {"passes": done, "steps": steps, "seconds": time.perf_counter() - began}


def main() -> None:
    """Trains, estimates, prints one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objective", choices=list(PUBLISHED), default="vae")
    parser.add_argument("--passes", type=float, default=3280)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--ledger", action="store_true", help="append to evidence/benchmarks.jsonl")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    data = nw.data.load("mnist")
    parts = (data.train, data.validation)  # the paper trains on all 60,000
    images = torch.cat([part.batch(torch.arange(len(part))) for part in parts]).to(options.device)
    model = build(options.objective, images.cpu()).to(options.device)
    figures = train(model, images, options.passes, options.seconds, options.batch, options.seed)
    grey = data.test.batch(torch.arange(options.test))
    generator = torch.Generator().manual_seed(options.seed + 1)
    test = torch.bernoulli(grey, generator=generator)
    estimate = importance_estimate(model, test, draws=options.draws)
    bound = importance_estimate(model, test, draws=1)
    report = {
        "objective": options.objective,
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
        name = {"vae": "VAE", "iwae": "IWAE, K = 50"}[options.objective]
        figures = {
            "updates": report["steps"],
            "-log p(x), nats": round(estimate.mean, 2),
            "standard error over images": round(estimate.standard_error, 2),
            "one-draw bound, nats": round(bound.mean, 2),
            "median effective sample size of 5,000": round(report["median_effective_sample_size"]),
            "published at 3280 passes": report["published"],
        }
        of = f"{name}, {report['passes']:.1f} passes of 3280"
        record("mnist-likelihood", of, figures, draws=options.draws)


if __name__ == "__main__":
    main()
