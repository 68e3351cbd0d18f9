"""How training went: losses, quantisation loss, usage and sparsity over epochs."""

import math
from collections.abc import Mapping, Sequence

from narrows.report import Gallery, Picture, Section, curves

Histories = Mapping[str, Sequence[Mapping[str, float]]]
"""Label -> one row per epoch, as `Run.history` has them."""

_CODES = (
    ("validation_usage", "codes used", "share"),
    ("validation_perplexity", "perplexity", "codes"),
    ("validation_atoms_used", "atoms used", "share"),
    ("validation_l0", "L0", "active atoms per site"),
    ("validation_active_units", "active units", "of each site"),
)
_BOUND = (
    (
        "commitment",
        "quantisation loss",
        "",
        "Squared distance of features and code, summed over sites; its weight is left out.",
    ),
    (
        "validation_feature_nmse",
        "features left over",
        "share",
        "Energy of the features that the code does not hold.",
    ),
    ("rate", "rate", "nats per example", "As it enters the training loss."),
)


def training_sections(histories: Histories) -> list[Section]:
    """Losses, then what the bottleneck did, each as smoothed curves where a model has it."""
    loss = [
        _figure(histories, "validation_nmse", "NMSE, validation split", "", "Smaller is better."),
        _figure(
            histories, "loss", "training loss", "nats per example",
            "Each model's own loss: not comparable between models.",
        ),
    ]  # fmt: skip
    loss += [_figure(histories, *about) for about in _BOUND]
    codes = [_figure(histories, key, name, unit, "") for key, name, unit in _CODES]
    found = []
    for heading, pictures in (
        ("Training", loss),
        ("Usage and sparsity over training", codes),
    ):
        drawn = [picture for picture in pictures if picture is not None]
        if drawn:
            found.append(Section(heading, [Gallery(drawn)]))
    return found


def _figure(histories: Histories, key: str, name: str, unit: str, caption: str) -> Picture | None:
    series = {label: column(rows, key) for label, rows in histories.items()}
    series = {label: pair for label, pair in series.items() if pair[0]}
    if not series:
        return None
    return curves(series, quantity=name, unit=unit, caption=caption, order=list(histories))


def column(rows: Sequence[Mapping[str, float]], key: str) -> tuple[list[float], list[float]]:
    """Epochs and finite values of one quantity."""
    kept = [row for row in rows if key in row and math.isfinite(row[key])]
    return [row["epoch"] for row in kept], [row[key] for row in kept]
