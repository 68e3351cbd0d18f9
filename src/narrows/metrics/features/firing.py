"""What a sparse code of vectors explains, and how often each of its atoms fires."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from narrows.autoencoder import Autoencoder
from narrows.codes import Atoms, AtomValues, atoms_of
from narrows.data.dataset import Split
from narrows.metrics.likelihood import batches, measuring

DENSE = 0.1
"""Share of the examples above which an atom that fires is called dense."""


@dataclass(frozen=True)
class Firing:
    """What `firing` found.

    Attributes:
        explained: fraction of variance explained, 1 - sum |x - y|^2 / sum |x - mean|^2, with each
            feature's own mean over these examples.
        cosine: mean cosine of x and its reconstruction y.
        norm_ratio: mean of |y| / |x|; below 1 where a penalty shrinks.
        l0: mean number of atoms that fire.
        rates: share of the examples at which each atom fires, `[K]`.
        examples: how many there were.
    """

    explained: float
    cosine: float
    norm_ratio: float
    l0: float
    rates: Tensor
    examples: int

    @property
    def dead(self) -> float:
        """Share of the atoms that fire at none of the examples."""
        return (self.rates == 0).double().mean().item()

    @property
    def dense(self) -> float:
        """Share of the atoms that fire at more than a tenth of the examples."""
        return (self.rates > DENSE).double().mean().item()

    def histogram(self, bins: int = 20) -> tuple[Tensor, Tensor]:
        """Numbers of living atoms by the decimal logarithm of their rate, and the bins' edges."""
        edges = torch.linspace(-math.log10(self.examples), 0, bins + 1, dtype=torch.float64)
        living = self.rates[self.rates > 0].double().log10().clamp(float(edges[0]), 0)
        return torch.histogram(living.cpu(), edges).hist.long(), edges

    def figures(self) -> dict[str, float]:
        """The numbers by name."""
        return {
            "explained": self.explained, "cosine": self.cosine, "norm_ratio": self.norm_ratio,
            "l0": self.l0, "dead": self.dead, "dense": self.dense,
        }  # fmt: skip


def firing(model: Autoencoder, examples: Split | Tensor, *, batch_size: int = 1024) -> Firing:
    """Measures a model with a sparse code on vectors `[n, d]`.

    None of the numbers says whether an atom means anything: random atoms explain much, too.

    Args:
        model: whose bottleneck codes by atoms of a dictionary, one code an example.
        examples: held-out ones.
        batch_size: examples coded together.

    Raises:
        ValueError: if the code has no atoms, or the examples are all equal.

    Source: Gao et al. (2024), section 4; Karvonen et al. (2025), "SAEBench", whose dense share
        counts the same tenth. The variance is about each feature's own mean.
    """
    size, n, active = size_of(model), 0, 0
    counts, cosine, ratio, error = torch.zeros(size, dtype=torch.int64), 0.0, 0.0, 0.0
    centre = total = squares = torch.zeros(())
    for x, y, code in coded(model, examples, batch_size):
        centre = centre if n else x.mean(0)
        fires = code.values != 0
        counts += code.atoms[fires].cpu().bincount(minlength=size)
        active, n = active + int(fires.sum()), n + len(x)
        error += float((x - y).square().sum())
        total, squares = total + (x - centre).sum(0), squares + (x - centre).square().sum(0)
        cosine += float(cosine_similarity(x, y).sum())
        ratio += float((y.norm(dim=1) / x.norm(dim=1).clamp(min=1e-30)).sum())
    variance = float((squares - total.square() / max(n, 1)).sum())
    if not variance > 0:
        raise ValueError(f"expected at least two examples that differ, got {n}")
    return Firing(1 - error / variance, cosine / n, ratio / n, active / n, counts / n, n)


def explained(model: Autoencoder, examples: Tensor, *, batch_size: int = 1024) -> float:
    """Fraction of variance that any model of vectors explains, as `Firing.explained` counts it.

    Args:
        model: of any latent; of codes with atoms, `firing` says it too.
        examples: `[n, d]`, held-out ones that differ.
        batch_size: examples coded together.
    """
    parts = []
    with measuring(model, 0), torch.no_grad():
        for x in batches(model, examples, batch_size):
            y = model.likelihood.mean(model.decoder(model.latent(x).z))
            parts.append((model.target(x).flatten(1).double(), y.flatten(1).double()))
    x, y = (torch.cat(column) for column in zip(*parts, strict=True))
    return 1 - ((x - y).square().sum() / (x - x.mean(0)).square().sum()).item()


def coded(
    model: Autoencoder, examples: Split | Tensor, batch_size: int = 1024
) -> Iterator[tuple[Tensor, Tensor, Atoms]]:
    """Vectors, their reconstructions (both `[b, d]`, float64) and codes `[b, width]`, by batches.

    Of pairs, the targets and what the codes of their inputs give. Values are those of the coder,
    not rounded to a prior's step.
    """
    with measuring(model, 0), torch.no_grad():
        for x in batches(model, examples, batch_size):
            latent = model.latent(x)
            y = model.likelihood.mean(model.decoder(latent.z))
            yield model.target(x).double(), y.flatten(1).double(), atoms_of(latent.code)


def size_of(model: Autoencoder) -> int:
    """Number of atoms of a model that codes each vector by some of them.

    Raises:
        ValueError: if it codes otherwise.
    """
    space = model.bottleneck.codes
    if not isinstance(space, AtomValues) or len(model.shape) != 1:
        raise ValueError(
            "expected a model of vectors with a code of atoms, such as SparseDictionary's; "
            f"{type(model.bottleneck).__name__} on examples of shape {model.shape} makes another"
        )
    return space.size
