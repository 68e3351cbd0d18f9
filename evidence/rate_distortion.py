"""Bits under each prior, and the files that hold them: means over seeds of coded runs."""

from collections.abc import Mapping
from pathlib import Path

from evidence.ledger import FOLDER, Run, latest
from evidence.pages import table
from narrows.report import Column, Picture, Table, rate_distortion
from narrows.report.table import Cell

CODES = {
    "bits_per_example": Column("estimated", "bits per example", digits=4),
    "bits_per_dimension": Column("estimated", "bits per dimension"),
    "file_bits": Column("in a file", "bits per example", digits=4),
    "excess": Column("file over its estimate", "%", digits=2),
    "psnr": Column("PSNR", "dB", digits=4),
    "nmse": Column("NMSE"),
}
IMAGES = {
    "lossless_estimate": Column("estimated", "bits per example", digits=4),
    "lossless_file_bits": Column("in a file", "bits per example", digits=4),
    "lossless_excess": Column("file over its estimate", "%", digits=2),
    "lossless_header": Column("header", "bits of the file", digits=4),
}


def codes(data: str) -> str:
    """Every recipe under every prior."""
    runs = latest("priors", data=data)
    seeds = len(runs[0].configuration["seeds"])
    caption = f"Test split, means over {seeds} seeds. A dash: no file holds a random code."
    rows = {name(run): cells(run) for run in runs}
    return table(Table(caption, CODES, rows, "recipe, prior"))


def images(data: str) -> str:
    """Files of whole images."""
    chosen = [r for r in latest("priors", data=data) if "lossless_file_bits" in r.figures]
    caption = (
        "Files of 250 whole images by bits-back, every pixel read back; estimate: KL and "
        "-log2 p(x | z). The header, which is left out, holds the words that are on the stack "
        f"before the first image. Means over {len(chosen[0].configuration['seeds'])} seeds."
    )
    return table(Table(caption, IMAGES, {name(run): cells(run) for run in chosen}, "recipe, prior"))


def plot(data: str, folder: Path = FOLDER) -> Picture:
    """A line for each recipe and kind of prior over sweep and steps."""
    points: dict[str, list[tuple[float, ...]]] = {}
    for run in latest("priors", folder, data=data):
        (bits, width), (nmse, half) = (
            _interval(run.figures[key]) for key in ("bits_per_dimension", "nmse")
        )
        label = f"{run.configuration['recipe']}, {run.configuration['prior']}"
        points.setdefault(label, []).append((bits, nmse, half, width))
    caption = "Every recipe under every prior; what a recipe was swept over and its steps joined."
    return rate_distortion(points, caption=caption)


def name(run: Run) -> str:
    """The recipe, what the sweep set, the prior, and its step."""
    known = run.configuration
    step = "" if known["step"] == 1 else f", step x{known['step']:g}"
    return f"{known['recipe']} ({known['point']}), {known['prior']}{step}"


def cells(run: Run) -> Mapping[str, Cell]:
    """Figures as a table takes them: a number, or mean and half width."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in run.figures.items()}  # pyright: ignore[reportReturnType]


def _interval(value: float | list[float]) -> tuple[float, float]:
    return (value[0], value[1]) if isinstance(value, list) else (value, 0.0)
