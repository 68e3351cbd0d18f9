"""The main job in small: four latents, the same networks, real digits, one page."""

import sys
import time
from collections.abc import Callable, Mapping
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

LATENTS: Mapping[str, Callable[[], Bottleneck]] = {
    "plain": lambda: Identity(2),  # two numbers a site
    "variational": lambda: Variational(4),
    "vq": lambda: VectorQuantizer(64, 16),
    "sparse": lambda: SparseDictionary(64, 16, coder=TopK(2, refit=True)),  # two atoms a site
}
"""The four latents, on 4x4 sites of the same networks; made after the seed is set."""


def network() -> Conv:
    """Encoder and decoder that all four share: 8x8 pixels to 4x4 sites."""
    return Conv(hidden=32, residual_layers=2, residual_hidden=16, downsamplings=1)


def train(out: Path, *, epochs: int = 60, seed: int = 0) -> tuple[Dataset, dict[str, Run]]:
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
        for name, latent in LATENTS.items():
            torch.manual_seed(seed)  # equal initial weights wherever shapes are equal
            model = Autoencoder.for_images(data.shape, latent(), network=network())
            print(name, file=sys.stderr)
            steps = Optimization(learning_rate=2e-3, clip=1.0)
            folder = out / name
            runs[name] = fit(model, data, epochs=epochs, optimization=steps, seed=seed, out=folder)
    finally:
        torch.set_num_threads(threads)
    return data, runs


@torch.no_grad()
def images_per_second(run: Run, data: Dataset, *, repeats: int = 3) -> float:
    """Reconstructed test images per second, the best of a few passes."""
    x = data.test.batch(torch.arange(len(data.test)))
    best = 0.0
    for _ in range(repeats):
        began = time.perf_counter()
        run.model.reconstruct(x)
        best = max(best, len(x) / (time.perf_counter() - began))
    return best


def demo(out: Path, *, epochs: int = 60, seed: int = 0) -> tuple[Path, dict[str, Run]]:
    """Trains, evaluates, and writes `report.html`; returns the page and the runs."""
    folder = claim_folder(out)
    data, runs = train(folder, epochs=epochs, seed=seed)
    figures = page.test_figures(runs)
    for name, run in runs.items():
        figures[name]["images_per_second"] = images_per_second(run, data)
    written = page.write(
        folder / "report.html",
        "Four latents, the same networks, scikit-learn's digits",
        data=data,
        runs=runs,
        command=f"narrows demo --out {out} --epochs {epochs} --seed {seed}",
        figures=figures,
    )
    return written, runs
