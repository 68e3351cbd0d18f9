"""CIFAR-10 through a VQ-VAE: the recipe `vq-fast` against the well-known notebook, in one run.

    python benchmarks/cifar_vq.py --out docs/results [--only fast,notebook,plot] [--limit 1100]

Both use the same network (`narrows.networks.Conv()`), 512 codes of 64 numbers, 8x8 sites, hence
576 bits an image. Seconds are training seconds: the clock stands still while the test set is
evaluated. NMSE is the mean squared error on all test images over the variance of the training
images.
"""

# ruff: noqa: D102, ARG002 (callbacks and modules with the signatures of their bases)

import argparse
import json
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
import narrows.functional.usage
import narrows.recorded
from narrows.training.run import environment

LEVEL, GOAL = 0.090, 0.052


class Clock:
    """Training seconds, and a row of figures whenever the test set is evaluated."""

    def __init__(self, data: nw.data.Dataset, out: Path) -> None:
        self.test, self.variance, self.out = data.test, data.variance, out
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
        used = nw.functional.usage.usage(counts)
        row = {
            "step": step, "seconds": round(self.seconds, 2),
            "nmse": round(squares / values / self.variance, 5),
            "perplexity": round(used["perplexity"], 1), "usage": round(used["usage"], 4),
        }  # fmt: skip
        self.rows.append(row)
        print(self.out.stem, row, flush=True)
        self.out.write_text(json.dumps({"environment": environment(), "rows": self.rows}, indent=1))
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

    def after_step(self, model: nw.Autoencoder, loss: nw.autoencoder.Loss) -> None:
        self.step += 1
        if self.step == 1:
            self.clock.began = time.perf_counter()  # the first step builds and compiles
            self.clock.seconds = self.first
        seconds = self.clock.seconds + time.perf_counter() - self.clock.began
        if seconds >= self.due:
            spent = time.perf_counter()
            with self.average.evaluating(model) if self.average else nullcontext():
                self.clock.began += time.perf_counter() - spent  # for exchanging weights
                row = self.clock.evaluate(model, lambda x: self._reconstruct(model, x), self.step)
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


def fast(data: nw.data.Dataset, out: Path, recipe_file: Path, stop: float | None) -> None:
    """The recipe, as `narrows train vq-fast` runs it."""
    import yaml

    recipe = yaml.safe_load(recipe_file.read_text())
    settings = recipe["fit"]
    torch.manual_seed(settings.get("seed", 0))
    build = nw.recorded.build
    model = nw.Autoencoder(data.shape, **{k: build(v) for k, v in recipe["model"].items()})
    clock = Clock(data, out / f"{recipe_file.stem}.json")
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
        return
    clock.began = time.perf_counter()
    clock.evaluate(model, lambda x: (model.decode(model.encode(x)), model.encode(x)), watch.step)


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


def notebook(data: nw.data.Dataset, out: Path, limit: float) -> None:
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

    clock = Clock(data, out / "notebook.json")
    for step in range(1, 3001):
        x = next(iter(loader))  # the notebook shuffles anew for every batch
        optimizer.zero_grad()
        loss, z, _ = quantizer(encoder(x))
        (F.mse_loss(decoder(z), x) / data.variance + loss).backward()
        optimizer.step()
        if step % (500 if step < 1500 else 250) == 0:
            row = clock.evaluate(model, reconstruct, step)
            if row["nmse"] <= LEVEL or row["seconds"] > limit:
                break


def plot(out: Path) -> None:
    """Test NMSE against training seconds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for name, colour in (("notebook", "tab:grey"), ("vq-fast", "tab:blue")):
        rows = json.loads((out / f"{name}.json").read_text())["rows"]
        rows = [row for row in rows if row["nmse"] < 0.5]
        seconds, nmse = [r["seconds"] for r in rows], [r["nmse"] for r in rows]
        axes.plot(seconds, nmse, "o-", markersize=3, color=colour, label=name)
    for level in (LEVEL, GOAL):
        axes.axhline(level, linewidth=0.5, color="black", linestyle=":")
    axes.set(
        xlabel="training seconds", ylabel="test NMSE", yscale="log",
        title="CIFAR-10 (JPEG), same network, 512 codes, 576 bits an image",
    )  # fmt: skip
    axes.set_yticks(
        [0.05, 0.06, 0.08, 0.1, 0.15, 0.2], labels=["0.05", "0.06", "0.08", "0.1", "0.15", "0.2"]
    )
    axes.minorticks_off()
    axes.legend()
    figure.tight_layout()
    figure.savefig(out / "vq-curves.png", dpi=120)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, default=Path("docs/results"))
    arguments.add_argument("--only", default="fast,notebook,plot")
    arguments.add_argument("--limit", type=float, default=1100.0)
    recipe = Path(nw.__file__).parent / "recipes" / "vq-fast.yaml"
    arguments.add_argument("--recipe", type=Path, default=recipe)
    arguments.add_argument("--stop", type=float, help="end the recipe after so many seconds")
    given = arguments.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    data = nw.data.load("cifar10")
    for part in given.only.split(","):
        if part == "fast":
            fast(data, given.out, given.recipe, given.stop)
        elif part == "notebook":
            notebook(data, given.out, given.limit)
        else:
            plot(given.out)


if __name__ == "__main__":
    main()
