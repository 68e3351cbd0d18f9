"""Atoms of whitened natural patches beside scikit-learn's: how many are Gabor functions?

    python -m benchmarks.olshausen_field [--seeds 3] [--ledger] [--figure FILE]

Olshausen and Field (1996) found that a sparse code of natural images has localised, oriented,
band-pass atoms. Both learners get the same 20,000 whitened 16 x 16 patches, the same starting
atoms, penalty, batches of 256 and number of updates. An atom counts as Gabor-like where a
two-dimensional Gabor function leaves less than 30 % of its energy (R^2 > 0.7). Patches that
start as atoms are the floor: an edge looks like a Gabor function too. Times are one thread's.
"""

import argparse
import io
import time
import warnings
from pathlib import Path
from typing import cast

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from sklearn.decomposition import MiniBatchDictionaryLearning

from evidence.benchmarks import record
from narrows.data.loaders import patches
from narrows.metrics.gabor import gabor_fit
from narrows.report.images import to_png
from narrows.report.theme import INK, PAPER
from narrows.sparse import Online, SparseSolution, coordinate_descent, learn_dictionary
from narrows.sparse.dictionary import draw_atoms

SIDE, BATCH, THRESHOLD = 16, 256, 0.7
Row = dict[str, float]


def load(photographs: patches.Photographs, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Training and test patches, each of mean 0."""
    data = patches.load(size=SIDE, n=30_000, photographs=photographs, seed=seed)
    train, test = (part.images.float() for part in (data.train, data.test))
    return train - train.mean(1, keepdim=True), test - test.mean(1, keepdim=True)


def ours(train: torch.Tensor, options: argparse.Namespace, seed: int) -> torch.Tensor:
    def encode(x: torch.Tensor, atoms: torch.Tensor) -> SparseSolution:
        return coordinate_descent(x, atoms, penalty=options.alpha, tolerance=1e-3)

    return learn_dictionary(
        train, options.atoms, encode=encode, rule=Online(0.95), epochs=options.epochs, batch=BATCH,
        seed=seed,
    )  # fmt: skip


def theirs(train: torch.Tensor, options: argparse.Namespace, seed: int) -> torch.Tensor:
    learner = MiniBatchDictionaryLearning(
        options.atoms, alpha=options.alpha, batch_size=BATCH, max_iter=options.epochs,
        fit_algorithm="cd", dict_init=start(train, options, seed).numpy(), tol=0,
        max_no_improvement=cast(int, None), random_state=seed,
    )  # fmt: skip
    return torch.from_numpy(learner.fit(train.numpy()).components_.astype(np.float32))


def start(train: torch.Tensor, options: argparse.Namespace, seed: int) -> torch.Tensor:
    return draw_atoms(train, options.atoms, torch.Generator().manual_seed(seed))


LEARNERS = {"narrows": ours, "scikit-learn": theirs, "patches (no learning)": start}


def measure(atoms: torch.Tensor, test: torch.Tensor, alpha: float) -> Row:
    atoms = atoms[atoms.norm(dim=1) > 0]
    atoms = atoms / atoms.norm(dim=1, keepdim=True)
    fit = gabor_fit(atoms, SIDE)
    solution = coordinate_descent(test, atoms, penalty=alpha)
    return {
        "gabor": float((fit.r2 > THRESHOLD).double().mean()),
        "median_r2": float(fit.r2.median()),
        "extent": float(fit.widths.amax(1).median()),
        "l0": float(solution.l0.double().mean()),
        "objective": float(solution.objective.mean() / test.square().sum(1).mean() * 2),
    }


def draw(dictionaries: dict[str, torch.Tensor], rows: dict[str, Row], path: Path) -> None:
    """The first 48 atoms of each, every one on its own scale."""
    figure = Figure(figsize=(2.8 * len(dictionaries), 2.4), layout="constrained", facecolor=PAPER)
    for index, (name, atoms) in enumerate(dictionaries.items()):
        axes = figure.add_subplot(1, len(dictionaries), index + 1)
        axes.imshow(mosaic(atoms[:48]), cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
        axes.set_title(
            f"{name}: {rows[name]['gabor']:.0%} Gabor-like", color=INK, fontsize=9, loc="left"
        )
        axes.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    path.write_bytes(to_png(np.asarray(Image.open(buffer)), colours=8))


def mosaic(atoms: torch.Tensor, columns: int = 8) -> np.ndarray:
    canvas = np.ones((-(-len(atoms) // columns) * (SIDE + 1), columns * (SIDE + 1)))
    for index, atom in enumerate(atoms.numpy()):
        y, x = (SIDE + 1) * (index // columns), (SIDE + 1) * (index % columns)
        canvas[y : y + SIDE, x : x + SIDE] = (atom / np.abs(atom).max()).reshape(SIDE, SIDE)
    return canvas


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--photographs", default="scikit-image")
    parser.add_argument("--atoms", type=int, default=192)
    parser.add_argument("--alpha", type=float, default=2.0)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ledger", action="store_true", help="append to evidence/benchmarks.jsonl")
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for seed in range(options.seeds):
        train, test = load(options.photographs, seed)
        dictionaries, rows = {}, {}
        for name, learn in LEARNERS.items():
            begun = time.process_time()
            atoms = learn(train, options, seed)
            seconds = time.process_time() - begun
            row = measure(atoms, test, options.alpha) | {"seconds": seconds}
            dictionaries[name], rows[name] = atoms, row
            print(seed, f"{name:22s}", *(f"{k} {v:.3f}" for k, v in row.items()), flush=True)
            if options.ledger:
                about = {"atoms": options.atoms, "alpha": options.alpha, "epochs": options.epochs}
                record(f"olshausen-field-{options.photographs}", name, row, seed=seed, **about)
        if seed == 0 and options.figure:
            draw(dictionaries, rows, options.figure)


if __name__ == "__main__":
    main()
