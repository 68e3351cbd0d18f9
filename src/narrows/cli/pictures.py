"""The one picture that `sample`, `interpolate`, `traverse`, `mask` and `denoise` each write."""

from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

if TYPE_CHECKING:
    from torch import Tensor


def add_out(parser: ArgumentParser, name: str) -> None:
    """--out, by default a file of this name in the run's folder."""
    parser.add_argument("--out", type=str, default=None, help=f"default RUN/{name}.png")


def write(config: Namespace, name: str, images: "Tensor", columns: int) -> None:
    """Writes images `[..., channels, height, width]` as the grid of one PNG and says where."""
    from narrows.report.images import tile, to_png

    out = Path(config.out) if config.out else Path(config.run) / f"{name}.png"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(to_png(tile(images.flatten(0, -4).cpu().numpy(), columns)))
    print(out)
