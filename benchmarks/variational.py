"""Time of a training step of each probabilistic latent over the plain autoencoder's.

The networks, data and likelihood are the same. Steps of all models are interleaved round by
round, and a figure is the median over rounds of the ratio to the plain autoencoder's step of
the same round, so that a busy machine slows both sides alike. There are two plain autoencoders,
and a figure for each: of the same layers (the encoder delivers two numbers for each of the
code's, as a location and a scale need; targets are for this one), and of the same code alone.

    OMP_NUM_THREADS=1 python -m benchmarks.variational [--ledger]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

import narrows as nw
from evidence.benchmarks import record
from narrows.bottlenecks import (
    RLOO,
    Bottleneck,
    Categorical,
    GumbelSoftmax,
    Identity,
    ScoreFunction,
    SpikeAndSlab,
    Variational,
)
from narrows.distributions import Cauchy, Laplace, Normal, Student


class SameLayers(Identity):
    """The plain code z = features[..., :dim] of an encoder as wide as a variational one's."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.in_features = 2 * dim

    def forward(self, features: torch.Tensor) -> nw.Latent:
        """Drops the second half."""
        code = self._check(features)[..., : self.out_features]
        return nw.Latent(z=code, code=code, features=features.detach())


TARGETS = {
    "`Variational`, normal": 1.05,
    "Laplace posterior and prior": 1.15,
    "normal posterior, Laplace prior": 1.15,
    "Cauchy": 1.15,
}


def bottlenecks(dim: int) -> dict[str, Bottleneck]:
    """What is compared; the first two are what the others are divided by."""
    return {
        "plain, same layers": SameLayers(dim),
        "plain, same code": Identity(dim),
        "`Variational`, normal": Variational(dim),
        "Laplace posterior and prior": Variational(dim, Laplace()),
        "normal posterior, Laplace prior": Variational(dim, Normal(), prior=Laplace()),
        "Cauchy": Variational(dim, Cauchy()),
        "Student-t (Monte Carlo KL)": Variational(dim, Student()),
        "`SpikeAndSlab`": SpikeAndSlab(dim),
        "`Categorical`, score function": Categorical(dim, 1, estimator=ScoreFunction()),
        "`Categorical`, Gumbel-softmax": Categorical(dim, 1, estimator=GumbelSoftmax()),
        "`Categorical`, RLOO with 4 draws": Categorical(dim, 1, estimator=RLOO(4)),
    }


def stepper(model: nw.Autoencoder, x: torch.Tensor) -> Callable[[], None]:
    """One optimiser step of a model in training."""
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    model.train()

    def step() -> None:
        loss = model.loss(x)
        optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        optimizer.step()
        model.bottleneck.update([loss.latent])

    return step


def measure(
    steps: dict[str, Callable[[], None]], rounds: int, repeats: int
) -> tuple[dict[str, list[float]], float]:
    """Median over rounds of each step's time over the first two's, and the first one's seconds."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(3):
        for step in steps.values():
            step()
    for _ in range(rounds):
        for name, step in steps.items():
            began = time.perf_counter()
            for _ in range(repeats):
                step()
            times[name].append((time.perf_counter() - began) / repeats)
    plain = list(times.values())[:2]
    ratios = {
        name: [statistics.median(a / b for a, b in zip(own, to, strict=True)) for to in plain]
        for name, own in times.items()
    }
    return ratios, statistics.median(plain[0])


def main() -> None:
    """Prints the ratios of two shapes of network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--ledger", action="store_true", help="append to evidence/benchmarks.jsonl")
    options = parser.parse_args()
    torch.manual_seed(0)
    cases = {
        "conv, 32x32x3, batch 64, 8x8 sites of 16": (
            (3, 32, 32), 64, 16, nw.networks.Conv(hidden=64), 1,
        ),
        "mlp 784-200-200-50, batch 100": ((1, 28, 28), 100, 50, nw.networks.Mlp((200, 200)), 10),
    }  # fmt: skip
    for case, (shape, batch, dim, network, repeats) in cases.items():
        x = torch.rand(batch, *shape)
        steps = {
            name: stepper(
                nw.Autoencoder.for_images(
                    shape, b, network=network, likelihood=nw.likelihoods.Bernoulli()
                ),
                x,
            )
            for name, b in bottlenecks(dim).items()
        }
        figures, seconds = measure(steps, options.rounds, repeats)
        print(f"{case}; plain step of the same layers {1e3 * seconds:.1f} ms")
        print(f"  {'time of a step over':22} same layers  same code")
        for name, (layers, code) in figures.items():
            target = f"  (target {TARGETS[name]})" if name in TARGETS else ""
            print(f"  {name:22} {layers:11.3f}  {code:9.3f}{target}")
            if options.ledger and not name.startswith("plain"):
                short = case.partition(" ")[0].rstrip(",")
                both = {"same layers": layers, "same code": code}
                row = {f"{short}: {what}": round(ratio, 3) for what, ratio in both.items()}
                record("variational-step", name, row, rounds=options.rounds)


if __name__ == "__main__":
    main()
