"""CIFAR-10 through a VQ-VAE: the recipe `vq-fast` against the well-known notebook, in one run.

    python -m benchmarks.cifar_vq [--only fast,notebook] [--limit 1100] [--ledger]

Both use the same network (`narrows.networks.Conv()`), 512 codes of 64 numbers, 8x8 sites, hence
576 bits an image. Seconds are training seconds: the clock stands still while the test set is
evaluated. NMSE is the mean squared error on all test images over the variance of the training
images.
"""

# ruff: noqa: D102, ARG002 (callbacks and modules with the signatures of their bases)

import argparse
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader

import narrows as nw
from evidence.benchmarks import record
from narrows.autoencoder import Loss
from narrows.functional.usage import usage
from narrows.recorded import build

LEVEL = 0.090


class Clock:
    """Training seconds, and a row of figures whenever the test set is evaluated."""

    def __init__(self, data: nw.data.Dataset, name: str) -> None:
        self.test, self.variance, self.name = data.test, data.variance, name
        self.seconds, self.rows, self.began = 0.0, [], time.perf_counter()

    def evaluate(self, model: nn.Module, reconstruct, step: int) -> dict:
        """Stops the clock, measures, starts it again."""
        self.seconds += time.perf_counter() - self.began
        was = model.training
        model.eval()
        squares, counts = 0.0, torch.zeros(512)
        with torch.no_grad():
            for first in range(0, len(self.test), 500):
                x = self.test.batch(torch.arange(first, min(first + 500, len(self.test))))
                output, code = reconstruct(x)
                squares += (output.float() - x).square().sum().item()
                counts += torch.bincount(code.flatten(), minlength=512)
        model.train(was)
        values = len(self.test) * 3 * 32 * 32
        used = usage(counts)
        row = {
            "step": step, "seconds": round(self.seconds, 2),
            "nmse": round(squares / values / self.variance, 5),
            "perplexity": round(used["perplexity"], 1), "usage": round(used["usage"], 4),
        }  # fmt: skip
        self.rows.append(row)
        print(self.name, row, flush=True)
        self.began = time.perf_counter()
        return row


class Enough(Exception):  # noqa: N818 (not an error)
    """Ends a trial before its recipe does."""


class Watch(nw.training.Callback):
    """Evaluates a `fit` every twenty seconds; every three until it has passed the level."""

    clock: Clock
    stop: float | None
    average: nw.training.WeightAverage | None = None
    step, passed, due = 0, False, 20.0

    def after_step(self, model: nw.Autoencoder, loss: Loss) -> None:
        self.step += 1
        if self.step == 1:
            self.clock.began = time.perf_counter()  # the first step builds and compiles
            self.clock.seconds = self.first
        seconds = self.clock.seconds + time.perf_counter() - self.clock.began
        if seconds >= self.due:
            spent = time.perf_counter()
            with self.average.evaluating(model) if self.average else nullcontext():
                self.clock.began += time.perf_counter() - spent  # for exchanging weights
                row = self.clock.evaluate(
                    model, lambda x: self._reconstruct(model, x), step=self.step
                )
            self.clock.began = time.perf_counter()
            self.passed = self.passed or row["nmse"] <= LEVEL
            self.due = seconds + (3 if seconds > 20 and not self.passed else 20)
            if self.stop and seconds > self.stop:
                raise Enough
        self.last = time.perf_counter()

    def after_epoch(self, model: nw.Autoencoder, row: Mapping[str, float]) -> bool:
        self.clock.began += time.perf_counter() - self.last  # fit's own validation
        return False

    def before_step(self, model: nw.Autoencoder, progress: float) -> None:
        if self.step == 0:
            self.first = time.perf_counter() - self.clock.began

    def _reconstruct(self, model: nw.Autoencoder, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            latent, output = model(x)
        return output, latent.code


def fast(data: nw.data.Dataset, recipe_file: Path, stop: float | None) -> Clock:
    """The recipe, as `narrows train vq-fast` runs it."""
    import yaml

    recipe = yaml.safe_load(recipe_file.read_text())
    settings = recipe["fit"]
    torch.manual_seed(settings.get("seed", 0))
    model = nw.Autoencoder(data.shape, **{k: build(v) for k, v in recipe["model"].items()})
    clock = Clock(data, recipe_file.stem)
    watch = Watch()
    watch.clock, watch.stop = clock, stop
    others = build(settings.get("callbacks", []))
    watch.average = next((c for c in others if isinstance(c, nw.training.WeightAverage)), None)
    try:
        nw.fit(
            model, data, callbacks=[*others, watch], show=False,
            epochs=settings["epochs"], batch_size=settings["batch_size"],
            optimization=build(settings["optimization"]), engine=build(settings["engine"]),
            seed=settings.get("seed", 0),
        )  # fmt: skip
    except Enough:
        return clock
    clock.began = time.perf_counter()
    clock.evaluate(
        model, lambda x: (model.decode(model.encode(x)), model.encode(x)), step=watch.step
    )
    return clock


class NotebookQuantizer(nn.Module):
    """The notebook's moving-average quantiser, step for step, with argmin for its argmax.

    Distances and one-hot codes are N x K matrices, codes start at N(0, 1), smoothed counts are
    written back, nothing is revived.
    """

    def __init__(self, size: int = 512, dim: int = 64, beta: float = 0.25, decay: float = 0.99):
        super().__init__()
        self.beta, self.decay = beta, decay
        self.register_buffer("codes", torch.randn(size, dim))
        self.register_buffer("counts", torch.zeros(size))
        self.register_buffer("sums", torch.randn(size, dim))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = features.reshape(-1, features.shape[-1])
        distances = x.pow(2).sum(1, keepdim=True) + self.codes.pow(2).sum(1) - 2 * x @ self.codes.T
        index = distances.argmin(1)
        chosen = torch.zeros(len(x), len(self.codes)).scatter_(1, index[:, None], 1)
        value = (chosen @ self.codes).view_as(features)
        if self.training:
            with torch.no_grad():
                counts = self.counts * self.decay + (1 - self.decay) * chosen.sum(0)
                total = counts.sum()
                self.counts = (counts + 1e-5) / (total + len(counts) * 1e-5) * total
                self.sums = self.sums * self.decay + (1 - self.decay) * chosen.T @ x
                self.codes = self.sums / self.counts[:, None]
        loss = self.beta * F.mse_loss(value.detach(), features)
        return loss, features + (value - features).detach(), index


class NotebookImages(torch.utils.data.Dataset):
    """Images one by one through PIL, as torchvision's CIFAR10 with ToTensor hands them out."""

    def __init__(self, images: Tensor) -> None:
        self.images = (images * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        picture = np.array(Image.fromarray(self.images[index]), copy=True)
        return torch.from_numpy(picture).permute(2, 0, 1).contiguous().float().div(255)


def notebook(data: nw.data.Dataset, limit: float) -> Clock:
    """Adam at 1e-3, batch 256, NMSE + commitment, until the level or the limit."""
    torch.manual_seed(0)
    network = nw.networks.Conv()
    encoder, decoder = network.encoder(data.shape, 64), network.decoder(data.shape, 64, channels=3)
    quantizer = NotebookQuantizer()
    model = nn.ModuleList([encoder, quantizer, decoder]).train()
    images = NotebookImages(data.train.batch(torch.arange(len(data.train))))
    loader = DataLoader(images, batch_size=256, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def reconstruct(x: Tensor) -> tuple[Tensor, Tensor]:
        _, z, index = quantizer(encoder(x))
        return decoder(z), index

    clock = Clock(data, "the notebook")
    for step in range(1, 3001):
        x = next(iter(loader))  # the notebook shuffles anew for every batch
        optimizer.zero_grad()
        loss, z, _ = quantizer(encoder(x))
        (F.mse_loss(decoder(z), x) / data.variance + loss).backward()
        optimizer.step()
        if step % (500 if step < 1500 else 250) == 0:
            row = clock.evaluate(model, reconstruct, step=step)
            if row["nmse"] <= LEVEL or row["seconds"] > limit:
                break
    return clock


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", default="fast,notebook")
    arguments.add_argument("--limit", type=float, default=1100.0)
    recipe = Path(nw.__file__).parent / "recipes" / "vq-fast.yaml"
    arguments.add_argument("--recipe", type=Path, default=recipe)
    arguments.add_argument("--stop", type=float, help="end the recipe after so many seconds")
    arguments.add_argument(
        "--ledger", action="store_true", help="append to evidence/benchmarks.jsonl"
    )
    given = arguments.parse_args()
    data = nw.data.load("cifar10")
    for part in given.only.split(","):
        fast_one = part == "fast"
        clock = fast(data, given.recipe, given.stop) if fast_one else notebook(data, given.limit)
        if given.ledger:
            points = [list(row.values()) for row in clock.rows]
            columns = list(clock.rows[0])
            record("vq-curve", clock.name, {"columns": columns, "points": points})


if __name__ == "__main__":
    main()
