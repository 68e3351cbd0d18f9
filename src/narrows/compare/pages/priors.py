"""Bits under each prior: tables, a figure and samples for the page of a comparison."""

import math
from collections.abc import Mapping, Sequence

from narrows.compare.plan import Plan
from narrows.compare.priors import KL, Coded, by_name, intervals
from narrows.report import Block, Gallery, Picture, Section, Table, rate_distortion
from narrows.report.table import Cell, Column

Figures = Mapping[str, Mapping[str, tuple[float, float]]]

_COLUMNS = {
    "bits_per_example": Column("estimated", "bits per example", digits=4),
    "bits_per_dimension": Column("estimated", "bits per dimension"),
    "file_bits": Column("in a file", "bits per example", digits=4),
    "excess": Column("file over its estimate", "%", digits=2),
    "psnr": Column("PSNR", "dB", digits=4),
    "snr": Column("SNR", "dB", digits=4),
    "nmse": Column("NMSE", ""),
}
_LOSSLESS = {
    "lossless_estimate": Column("estimated", "bits per example", digits=4),
    "lossless_file_bits": Column("in a file", "bits per example", digits=4),
    "excess": Column("file over its estimate", "%", digits=2),
    "lossless_header": Column("header", "bits of the file", digits=4),
}


def sections(coded: Sequence[Coded], plan: Plan) -> list[Section]:
    """Everything about priors that was asked for; empty if nothing was.

    Args:
        coded: every run under every prior, failures included.
        plan: what was compared.
    """
    if not coded:
        return []
    figures = intervals(coded)
    blocks: list[Block | str] = [_about(coded, plan)] if figures else []
    if figures:
        blocks += [_bits(figures, plan), _figure(coded, figures), *_lossless(figures, plan)]
    if any(one.error for one in coded):
        blocks.append(_failures(coded))
    found = [Section("Bits under each prior", blocks)]
    if drawn := _samples(coded):
        found.append(Section("Samples of each prior", [Gallery(drawn)]))
    return found


def _about(coded: Sequence[Coded], plan: Plan) -> str:
    """How it was measured."""
    files = max(int(one.figures.get("file_images", 0)) for one in coded)
    said = (
        "Every prior is fitted to the codes of the training split, selected on validation, and "
        "measured once on the test split. Estimated: its cross-entropy. In a file: the size of a "
        f"real file of the first {files:,} test examples without its header, read back; it is "
        "held against the estimate for these examples. "
        "Distortion is that of the decoded code. A step is a factor of the run's own."
    )
    if any(one.request.kind == KL for one in coded):
        said += (
            f" {KL}: of a random code under the prior it was trained with, the cost of a draw by "
            "bits-back; its distortion is that of a draw."
        )
    learned = [
        f"{recipe.name} ({recipe.settings})" for recipe in plan.after.priors if recipe.learned
    ]
    return f"{said} Trained by gradient: {', '.join(learned)}." if learned else said


def _over(plan: Plan) -> str:
    seeds = len(plan.seeds)
    return "one seed" if seeds == 1 else f"mean ± 95 % t interval over {seeds} seeds"


def _bits(figures: Figures, plan: Plan) -> Table:
    """Every run and prior."""
    rows = {name: _row(found, "file_bits", "file_estimate") for name, found in figures.items()}
    caption = f"Test split, {_over(plan)}. A dash: there is no way to write a file of such codes."
    return Table(caption, _COLUMNS, rows, "recipe, prior")


def _lossless(figures: Figures, plan: Plan) -> list[Table]:
    """Of the variational codes whose likelihood gives every pixel value a probability."""
    chosen = {name: f for name, f in figures.items() if "lossless_file_bits" in f}
    if not chosen:
        return []
    rows = {n: _row(f, "lossless_file_bits", "lossless_estimate") for n, f in chosen.items()}
    images = int(next(iter(chosen.values()))["lossless_images"][0])
    caption = (
        f"Files of {images:,} whole images by bits-back, every pixel read back; estimate: {KL} "
        "and -log2 p(x | z). The header, which is left out, holds the words that are on the stack "
        f"before the first image. {_over(plan).capitalize()}."
    )
    return [Table(caption, _LOSSLESS, rows, "recipe, prior")]


def _row(figures: Mapping[str, tuple[float, float]], file: str, estimate: str) -> dict[str, Cell]:
    row: dict[str, Cell] = {key: _cell(value) for key, value in figures.items()}
    if file in figures:
        row["excess"] = 100 * (figures[file][0] / figures[estimate][0] - 1)
    return row


def _cell(value: tuple[float, float]) -> Cell:
    return value if math.isfinite(value[1]) and value[1] > 0 else value[0]


def _figure(coded: Sequence[Coded], figures: Figures) -> Picture:
    """A line for each recipe and kind of prior over sweep and steps."""
    points: dict[str, list[tuple[float, ...]]] = {}
    for name, ones in by_name(coded).items():
        (bits, width), (nmse, half) = figures[name]["bits_per_dimension"], figures[name]["nmse"]
        bars = (half, width) if math.isfinite(half) else ()
        points.setdefault(ones[0].family, []).append((bits, nmse, *bars))
    caption = "Every recipe under every prior; what a recipe was swept over and its steps joined."
    return rate_distortion(points, caption=caption)


def _samples(coded: Sequence[Coded]) -> list[Picture]:
    """Of the first run of each name that has them."""
    found = []
    for name, ones in by_name(coded).items():
        path = ones[0].picture
        if path.is_file():
            found.append(Picture(path.read_bytes(), f"Samples of {name}.", name))
    return found


def _failures(coded: Sequence[Coded]) -> Table:
    rows: dict[str, dict[str, Cell]] = {
        f"{one.name}, seed {one.seed}": {"error": one.error} for one in coded if one.error
    }
    caption = f"{len(rows)} of {len(coded)} priors failed; the same command tries them again."
    return Table(caption, {"error": Column("said")}, rows, "recipe, prior, seed")
