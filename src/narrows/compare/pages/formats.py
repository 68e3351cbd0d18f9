"""What JPEG, WebP and PNG make of the same images."""

import math
from collections.abc import Sequence

from narrows.compare.equal_rate import quality_at
from narrows.compare.formats import Format
from narrows.report import Column, Section, Table
from narrows.report.table import Cell

_COLUMNS = {
    "bits": Column("compressed data", "bits per dimension"),
    "whole": Column("whole files", "bits per dimension"),
    "psnr": Column("PSNR", "dB"),
}


def section(found: Sequence[Format]) -> list[Section]:
    """Every format at every quality; nothing where there are no formats."""
    if not found:
        return []
    rows: dict[str, dict[str, Cell]] = {}
    for point in found:
        name = point.name if point.quality is None else f"{point.name} {point.quality}"
        rows[name] = {"bits": point.bits, "whole": point.whole, "psnr": _decibel(point.mse)}
    caption = (
        "Picture formats on the same test images, each a file of its own: their compressed data "
        "alone, as the models' files are counted, and whole files. PNG keeps every pixel"
    )
    return [Section("Picture formats", [Table(caption, _COLUMNS, rows, "format, quality")], True)]


def at(found: Sequence[Format], rate: float) -> dict[str, float]:
    """PSNR in dB of each format at a rate, where its qualities reach it, by what is counted."""
    rows: dict[str, float] = {}
    for name in dict.fromkeys(point.name for point in found if point.mse):
        points = [point for point in found if point.name == name]
        for counted in ("bits", "whole"):
            curve = sorted((getattr(point, counted), _decibel(point.mse)) for point in points)
            quality = quality_at(curve, rate)
            if quality is not None:
                rows[f"{name}, {'compressed data' if counted == 'bits' else 'whole files'}"] = (
                    quality
                )
    return rows


def _decibel(mse: float) -> float:
    return -10 * math.log10(mse) if mse else math.inf
