"""The page about one or several runs on the same data."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from narrows.data.dataset import Dataset
from narrows.report import (
    Column,
    Gallery,
    Picture,
    Section,
    Strips,
    Table,
    curves,
    grid,
    page,
    rate_distortion,
    scatter,
    strips,
)
from narrows.report.findings import answer
from narrows.training import Run
from narrows.training.run import environment
from narrows.writing import write_bytes

COLUMNS: Mapping[str, Column] = {
    "nmse": Column("NMSE", "MSE / variance of training values"),
    "psnr": Column("PSNR", "dB"),
    "bits_per_example": Column("rate", "bits per example"),
    "bits_per_dimension": Column("rate", "bits per dimension (C*H*W)"),
    "nll": Column("-log p(x|z)", "nats per example"),
    "usage": Column("codes used", "fraction"),
    "perplexity": Column("perplexity", "codes"),
    "l0": Column("L0", "active atoms per site"),
    "active_units": Column("active units", "of each site"),
    "parameters": Column("parameters", ""),
    "images_per_second": Column("speed", "reconstructions per second"),
}

CONVENTION = (
    "Rate conventions. Codes of a quantiser: -log2 of the histogram fitted to training codes. "
    "Plain and sparse codes: rounded to a stated step after training, then the same; distortion "
    "is measured after rounding. Latents with a posterior: KL(q || p), which bits-back coding "
    "attains for a draw from q, so distortion is that of a draw. Distortion is never compared "
    "with a rate it was not bought with."
)


def write(  # noqa: PLR0913 (what a page is made of; all but the first four have defaults)
    path: Path,
    title: str,
    data: Dataset,
    runs: Mapping[str, Run],
    *,
    commands: Sequence[str] = (),
    figures: Mapping[str, Mapping[str, float]] | None = None,
    lead: Sequence[Section] | None = None,
    warnings: Sequence[str] = (),
    findings: Sequence[str] = (),
) -> Path:
    """Writes the page of runs on one data set, and its main pictures beside it.

    Args:
        path: the HTML file.
        title: of the page.
        data: what all runs were trained on.
        runs: label -> finished run.
        commands: what to type to get this page again.
        figures: test figures by label; by default those of the runs.
        lead: the first sections; by default the table and the plot of these runs.
        warnings: sentences that a reader must not miss, before the runs' own advice.
        findings: sentences of the answer, before those that the figures give.
    """
    figures = figures or test_figures(runs)
    if len(data.shape) == 3 and data.shape[0] in (1, 3):
        for name, picture in pictures(data, runs).items():
            write_bytes(path.parent / name, picture.data)
    advice = [f"{name}: {sentence}" for name, run in runs.items() for sentence in run.advice]
    facts = environment()
    return page.write(
        path,
        title,
        [*findings, *answer(figures)],
        [*(figure_sections(data, figures) if lead is None else lead), *sections(data, runs)],
        warnings=[*warnings, *advice],
        commands=commands,
        versions={**facts["versions"], "processor": facts["processor"], "cores": facts["cores"]},
    )


def test_figures(runs: Mapping[str, Run]) -> dict[str, dict[str, float]]:
    """Test figures and number of parameters, by label."""
    return {name: {**run.test, "parameters": _parameters(run)} for name, run in runs.items()}


def figure_sections(data: Dataset, figures: Mapping[str, Mapping[str, float]]) -> list[Section]:
    """The table, and the plot of distortion against bits."""
    found = [Section("Figures on the test split", [table(data, figures), CONVENTION])]
    priced = {n: f for n, f in figures.items() if "bits_per_dimension" in f}
    if priced:
        points = {n: [(f["bits_per_dimension"], f["nmse"])] for n, f in priced.items()}
        plot = rate_distortion(points, caption="Lower left is better: fewer bits, less error.")
        found.append(Section("Distortion against bits", [plot]))
    return found


def sections(data: Dataset, runs: Mapping[str, Run]) -> list[Section]:
    """Pictures and curves."""
    found = []
    if len(data.shape) == 3 and data.shape[0] in (1, 3):
        found.append(Section("Reconstructions", [reconstructions(data, runs)]))
        found.append(Section("Samples", [Gallery([samples(n, run) for n, run in runs.items()])]))
    found.append(Section("Training", [Gallery(training_curves(runs))]))
    found.append(Section("Codes", [Gallery([codes(data, n, r) for n, r in runs.items()])]))
    return found


def table(data: Dataset, figures: Mapping[str, Mapping[str, float]]) -> Table:
    """One row per model; a column only where some model has the figure."""
    columns = {k: c for k, c in COLUMNS.items() if any(k in f for f in figures.values())}
    return Table(
        f"{data.name}, {len(data.test)} held-out examples, one seed",
        columns,
        {name: {k: f[k] for k in columns if k in f} for name, f in figures.items()},
    )


def restored(data: Dataset, runs: Mapping[str, Run], n: int = 12) -> dict[str, np.ndarray]:
    """Rows of images `[n, channels, height, width]`: held-out ones, then each model's."""
    x = data.test.batch(torch.arange(min(n, len(data.test))))
    rows: dict[str, Tensor] = {"originals": x.cpu()}
    for name, run in runs.items():
        device = next(run.model.parameters()).device
        rows[name] = run.model.reconstruct(x.to(device)).cpu()
    return {name: images.clamp(0, 1).numpy() for name, images in rows.items()}


def reconstructions(data: Dataset, runs: Mapping[str, Run]) -> Strips:
    """Held-out images above what each model makes of them."""
    caption = "Held-out images, and each as it comes back from its stored code."
    return strips(restored(data, runs), caption=caption)


def pictures(data: Dataset, runs: Mapping[str, Run]) -> dict[str, Picture]:
    """PNG files for a run folder, by file name."""
    rows = restored(data, runs)
    columns = len(rows["originals"])
    what = f"rows: {', '.join(rows)}"
    found = {
        "reconstructions.png": grid(np.concatenate(list(rows.values())), what=what, columns=columns)
    }
    for name, run in runs.items():
        found[f"samples-{name}.png" if len(runs) > 1 else "samples.png"] = samples(name, run)
    return found


def samples(name: str, run: Run, n: int = 32) -> Picture:
    """Decoded draws from the model's prior."""
    device = next(run.model.parameters()).device
    drawn = run.model.sample(n, torch.Generator(device).manual_seed(0)).cpu().clamp(0, 1)
    kind = type(run.model.prior).__name__
    return grid(
        drawn.numpy(), what=f"samples of {name}", caption=f"{name}: decoded draws from {kind}"
    )


def training_curves(runs: Mapping[str, Run]) -> list[Picture]:
    """Validation NMSE and training loss by epoch."""
    series = {
        label: {name: _column(run, key) for name, run in runs.items()}
        for label, key in (("nmse", "validation_nmse"), ("loss", "loss"))
    }
    return [
        curves(series["nmse"], quantity="NMSE, validation split", caption="Smaller is better."),
        curves(
            series["loss"],
            quantity="training loss",
            unit="nats per example",
            caption="Each model's own loss: not comparable between models.",
        ),
    ]


def codes(data: Dataset, name: str, run: Run, n: int = 500) -> Picture:
    """The decoder's inputs of held-out examples on their principal plane."""
    x = data.test.batch(torch.arange(min(n, len(data.test))))
    with torch.no_grad():
        z = run.model.latent(x.to(next(run.model.parameters()).device)).z.flatten(1).cpu()
    labels = None if data.test.labels is None else data.test.labels[: len(x)].cpu().numpy()
    return scatter(z.numpy(), labels, title=f"codes of {name}", caption="Coloured by class.")


def _column(run: Run, key: str) -> tuple[list[float], list[float]]:
    rows = [row for row in run.history if key in row and math.isfinite(row[key])]
    return [row["epoch"] for row in rows], [row[key] for row in rows]


def _parameters(run: Run) -> float:
    return float(sum(p.numel() for p in run.model.parameters()))
