"""Are principal components of images global, and sparse atoms local?"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from narrows.data.loaders import patches
from narrows.report import Block, grid, stretch
from narrows.sparse import learn_dictionary, omp
from narrows.tasks import Call, Result
from reproductions.claim import Claim, Evidence, Hypothesis, Scale, ratios
from reproductions.figures import dots
from reproductions.verdict import Estimate


def local_and_global(folder: Path, *, side: int, atoms: int, examples: int, seed: int) -> Result:
    """Area of principal components and of sparse atoms of whitened natural patches.

    The slides' overcomplete code: twice as many atoms as components, few active at once.
    """
    del folder
    data = patches.load(size=side, n=examples, seed=seed)
    x = data.train.images.float()
    x = x - x.mean(1, keepdim=True)
    components = torch.linalg.svd(x - x.mean(0), full_matrices=False).Vh[: side * side // 2]
    learned = learn_dictionary(x, atoms, encode=lambda v, d: omp(v, d, k=5), epochs=12, seed=seed)
    random = torch.linalg.qr(
        torch.randn(side * side, atoms, generator=torch.Generator().manual_seed(seed))
    ).Q.T
    return {
        "components": float(area(components).median()),
        "atoms": float(area(learned).median()),
        "random": float(area(random).median()),
        "shown_components": components[:32].view(-1, 1, side, side).numpy().astype(np.float16),
        "shown_atoms": learned[:32].view(-1, 1, side, side).numpy().astype(np.float16),
    }


def area(filters: Tensor) -> Tensor:
    """Share of the pixels that a filter covers, `[n]`: (sum w^2)^2 / (d sum w^4).

    1 for one of equal absolute weights, 1/3 for normal weights, 1/d for a single pixel.
    """
    energy = filters.square()
    return energy.sum(1).square() / (filters.shape[1] * energy.square().sum(1))


def figures(evidence: Evidence) -> list[Block]:
    """Both sets of filters, and their areas."""
    groups = {name: evidence.values(name) for name in ("components", "atoms", "random")}
    shown = {"components": "principal components", "atoms": "sparse atoms"}
    return [
        *(
            grid(
                stretch(evidence.array(f"shown_{name}"), symmetric=True), what=what, columns=8,
                caption=f"{what.capitalize()} of whitened natural patches, grey is 0, seed 0.",
            )
            for name, what in shown.items()
        ),
        dots(groups, quantity="share of the patch that is covered", caption="Median filter."),
    ]  # fmt: skip


def trials(scale: Scale) -> list[Call]:
    """One set of patches per seed."""
    sizes = {
        "side": scale.pick(6, 12, 16),
        "atoms": scale.pick(20, 288, 512),
        "examples": scale.pick(240, 9000, 30_000),
    }
    return [Call(local_and_global, {**sizes, "seed": seed}) for seed in range(scale.seeds)]


CLAIM = Claim(
    name="components-global-atoms-local",
    document="001",
    place="sparsity, Olshausen and Field",
    says=(
        "Principal components of images are not localised; an overcomplete sparse code's atoms are."
    ),
    hypotheses=(
        Hypothesis(
            "median area of sparse atoms over that of principal components",
            "below",
            0.5,
            lambda e: ratios(e.values("atoms"), e.values("components")),
            since="2026-11-26",
        ),
        Hypothesis(
            "median area of principal components, as a share of the patch (a single pixel: 0.01)",
            "above",
            0.25,
            lambda e: Estimate.over_seeds(e.values("components")),
            since="2026-11-26",
        ),
    ),
    trials=trials,
    figures=figures,
    minutes=1.5,
    notes=("Whitened patches of photographs. Orthonormal random vectors cover a third.",),
)
