"""The one picture that `sample`, `interpolate`, `traverse`, `mask` and `denoise` each write."""

from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from narrows.cli import trained

if TYPE_CHECKING:
    from torch import Tensor

    from narrows.autoencoder import Autoencoder
    from narrows.data.dataset import Dataset
    from narrows.training.run import Run


def add_out(parser: ArgumentParser, name: str) -> None:
    """--out, by default a file of this name in the run's folder."""
    parser.add_argument("--out", type=str, default=None, help=f"default RUN/{name}.png")


def load(config: Namespace) -> "tuple[Run, Dataset]":
    """A run whose model is of images, and its data.

    Raises:
        ValueError: if it is of vectors.
    """
    from narrows.training.run import Run

    run = Run.load(config.run)
    check(run.model)
    return run, trained.data(config, run)


def check(model: "Autoencoder") -> None:
    """Refuses a model of vectors."""
    if len(model.shape) != 3:
        raise ValueError(
            f"expected a run on images to draw pictures of, but its examples have shape "
            f"{tuple(model.shape)}; in Python nw.generation and model.sample give their values"
        )


def write(config: Namespace, name: str, images: "Tensor", columns: int) -> None:
    """Writes images `[..., channels, height, width]` as the grid of one PNG and says where."""
    from narrows.report.images import tile, to_png

    out = Path(config.out) if config.out else Path(config.run) / f"{name}.png"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(to_png(tile(images.flatten(0, -4).cpu().numpy(), columns)))
    print(out)
