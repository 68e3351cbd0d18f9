"""What a trained model must show before a verdict may rest on it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from narrows.data.dataset import Dataset
from narrows.saving.writing import read_json, write_json
from narrows.training import Run

FILE = "floor.json"
PCA_SHARE = 0.5
"""Of the variance that PCA with as many numbers explains, what a model must explain."""
STILL_IMPROVING = 0.03
"""Share of the validation NMSE that the last quarter of training may still take off."""
COLLAPSED = 0.05
"""Variance of the copies about their mean, as a share of the images', below which all are one."""
EXAMPLES = 5000


@dataclass(frozen=True)
class Floor:
    """The figures that decide whether one model was trained well enough to be judged.

    Attributes:
        model: name of the run's folder in its trial.
        nmse: of its copies of test images.
        mean_image: NMSE of the mean training image, the copy that needs no code.
        pca: NMSE of principal components, as many as the decoder is given numbers.
        varies: variance of the copies about their own mean, as a share of the images'.
        improved: share of the validation NMSE that the last quarter of training took off; None
            with fewer than four epochs.
        epochs: passes over the training images.
        advice: what the run itself warned of.
    """

    model: str
    nmse: float
    mean_image: float
    pca: float
    varies: float
    improved: float | None
    epochs: int
    advice: Sequence[str] = ()

    def shortfalls(self, *, course: bool = False) -> list[str]:
        """Sentences on what is missing; none if the model may be judged.

        Args:
            course: whether only the course of training is judged, wherever it ends.
        """
        missed = []
        if not self.nmse < self.mean_image:
            missed.append(
                f"NMSE {self.nmse:.3g} is not below the mean image's {self.mean_image:.3g}"
            )
        elif not 1 - self.nmse >= PCA_SHARE * (1 - self.pca):
            missed.append(
                f"NMSE {self.nmse:.3g} explains less than {PCA_SHARE:.0%} of what PCA with as many "
                f"numbers does (NMSE {self.pca:.3g})"
            )
        if self.varies < COLLAPSED:
            missed.append(f"collapsed: its copies have {self.varies:.1%} of the images' variance")
        if course:
            return missed
        if self.improved is None:
            missed.append(f"{self.epochs} epochs do not show whether it has stopped improving")
        elif self.improved >= STILL_IMPROVING:
            missed.append(
                f"the last quarter of training still improved NMSE by {self.improved:.1%}"
            )
        return missed


def measure(run: Run, data: Dataset, copies: Tensor) -> Floor:
    """The floor of one run, for copies `[n, *shape]` of the first n test images."""
    test = data.test.batch(torch.arange(len(copies)))
    start, curve = _principal(data)
    spread = test.var(0, unbiased=False).sum()
    total = spread * len(test)
    numbers = run.model.latent(test[:1]).z[0].numel()
    return Floor(
        model=run.folder.parent.name if run.folder else "",
        nmse=float((copies - test).square().sum() / total),
        mean_image=float((test - start).square().sum() / total),
        pca=float(curve[min(numbers, len(curve) - 1)]),
        varies=float(copies.var(0, unbiased=False).sum() / spread),
        improved=improvement([row["validation_nmse"] for row in run.history]),
        epochs=len(run.history),
        advice=list(run.advice),
    )


def improvement(nmse: Sequence[float]) -> float | None:
    """Share of the NMSE that the last quarter of the epochs took off; None below four epochs."""
    if len(nmse) < 4:
        return None
    before = nmse[len(nmse) - 1 - len(nmse) // 4]
    return 1 - nmse[-1] / before


@cache
def _principal(data: Dataset) -> tuple[Tensor, Tensor]:
    """The mean image, and NMSE on test images of PCA with 0, 1, 2, ... numbers."""
    x = data.train.head(EXAMPLES).batch(torch.arange(min(EXAMPLES, len(data.train))))
    start = x.mean(0)
    axes = torch.linalg.eigh((x - start).flatten(1).T.double().cov()).eigenvectors.flip(-1)
    test = data.test.batch(torch.arange(min(EXAMPLES, len(data.test))))
    energy = ((test - start).flatten(1).double() @ axes).square().sum(0)
    left = energy.sum() - torch.cat([energy.new_zeros(1), energy.cumsum(0)])
    return start, left.clamp_min(0) / (test.var(0, unbiased=False).sum() * len(test))


def write(folder: Path, floor: Floor) -> None:
    """Keeps a floor beside its run."""
    write_json(folder / FILE, asdict(floor))


def read(folder: Path) -> list[Floor]:
    """The floors of all models of a trial, in the order of their folders' names."""
    return [
        Floor(**read_json(path, "delete it, and measure again"))
        for path in sorted(folder.rglob(FILE))
    ]
