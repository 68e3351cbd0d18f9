"""The main job in small: four latents, the same networks, real digits, one page."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from narrows.autoencoder import Autoencoder
from narrows.bottlenecks import (
    Bottleneck,
    Identity,
    SparseDictionary,
    TopK,
    Variational,
    VectorQuantizer,
)
from narrows.compare.pages import run as page
from narrows.data import Dataset, load
from narrows.networks import Conv
from narrows.training import Optimization, Run, fit
from narrows.training.run import claim_folder


@dataclass(frozen=True)
class Contestant:
    """One latent in a comparison.

    Attributes:
        name: short, for tables and file names.
        label: what it is, in a few words.
        make: makes the latent; it draws its initial state, so after the seed.
    """

    name: str
    label: str
    make: Callable[[], Bottleneck]


def contestants() -> list[Contestant]:
    """The four latents of the demo, on 4x4 sites of the same convolutional networks."""
    return [
        Contestant("plain", "plain, 2 numbers a site", lambda: Identity(2)),
        Contestant("variational", "normal posterior and prior", lambda: Variational(4)),
        Contestant("vq", "64 codes, moving averages", lambda: VectorQuantizer(64, 16)),
        Contestant(
            "sparse",
            "2 of 64 atoms a site",
            lambda: SparseDictionary(64, 16, coder=TopK(2, refit=True)),
        ),
    ]


def network() -> Conv:
    """Encoder and decoder that all four share: 8x8 pixels to 4x4 sites."""
    return Conv(hidden=32, residual_layers=2, residual_hidden=16, downsamplings=1)


def train(out: Path, epochs: int = 60, seed: int = 0) -> tuple[Dataset, dict[str, Run]]:
    """Trains and evaluates the four on scikit-learn's digits.

    Args:
        out: folder that gets one run folder per latent.
        epochs: passes over the 1,257 training digits.
        seed: of initial weights and batch order, the same for all.
    """
    data = load("digits")
    runs: dict[str, Run] = {}
    # Images of 8x8 pixels: a second thread would wait more than it works.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for contestant in contestants():
            runs[contestant.name] = _train(contestant, data, out, epochs, seed)
    finally:
        torch.set_num_threads(threads)
    return data, runs


def _train(contestant: Contestant, data: Dataset, out: Path, epochs: int, seed: int) -> Run:
    torch.manual_seed(seed)  # equal initial weights wherever shapes are equal
    model = Autoencoder.for_images(data.shape, contestant.make(), network=network())
    print(f"{contestant.name}: {contestant.label}", file=sys.stderr)
    return fit(
        model,
        data,
        epochs=epochs,
        optimization=Optimization(learning_rate=2e-3, clip=1.0),
        seed=seed,
        out=out / contestant.name,
    )


@torch.no_grad()
def images_per_second(run: Run, data: Dataset, repeats: int = 3) -> float:
    """Reconstructed test images per second, the best of a few passes."""
    x = data.test.batch(torch.arange(len(data.test)))
    best = 0.0
    for _ in range(repeats):
        began = time.perf_counter()
        run.model.reconstruct(x)
        best = max(best, len(x) / (time.perf_counter() - began))
    return best


def demo(out: Path, epochs: int = 60, seed: int = 0) -> tuple[Path, Dataset, dict[str, Run]]:
    """Trains, evaluates, and writes `report.html`.

    Returns:
        The page, the data and the runs.
    """
    folder = claim_folder(out)
    data, runs = train(folder, epochs, seed)
    figures = page.test_figures(runs)
    for name, run in runs.items():
        figures[name]["images_per_second"] = images_per_second(run, data)
    written = page.write(
        folder / "report.html",
        "Four latents, the same networks, scikit-learn's digits",
        data,
        runs,
        commands=[f"narrows demo --out {out} --epochs {epochs} --seed {seed}"],
        figures=figures,
    )
    return written, data, runs
