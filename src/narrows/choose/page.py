"""The page of a choice: its answer and figure first, every run folded at its end."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from narrows.autoencoder import Autoencoder
from narrows.choose.answer import gains, sentences, summary
from narrows.choose.leads import mean
from narrows.choose.question import Choice, Runs
from narrows.choose.race import Verdict
from narrows.compare.asked import WRITTEN
from narrows.compare.formats import Format, formats
from narrows.compare.pages import formats as formats_page
from narrows.compare.pages import gallery, tables
from narrows.compare.pages import run as page
from narrows.compare.run import RUN
from narrows.compare.statistics import interval
from narrows.data.dataset import Dataset
from narrows.report import Block, Column, Page, Section, Table, rate_distortion
from narrows.report.table import Cell
from narrows.saving.writing import write_json


def write(choice: Choice, data: Dataset, *, out: Path, command: str) -> Path:
    """Writes `report.html`, `report.md`, `results.csv` and `metrics.json`; returns the page."""
    pictures = formats(data)
    made = Page(
        f"Which latent for {data.name}?",
        sentences(choice),
        [
            *_figure(choice),
            *_races(choice, pictures),
            *_pictures(choice, data),
            *formats_page.section(pictures),
            *_details(choice, data),
        ],
        warnings=_warnings(choice),
        commands=[command],
        versions=page.versions(),
    )
    out.mkdir(parents=True, exist_ok=True)
    tables.write(rows(choice), out)
    about = {"command": command, "data": data.name, "train": _trained_on(choice, data)}
    write_json(out / "metrics.json", summary(choice) | about)
    made.write(out / "report.md")
    return made.write(out / "report.html")


def _trained_on(choice: Choice, data: Dataset) -> int:
    return min(int(choice.options.get("train_examples", len(data.train))), len(data.train))


def rows(choice: Choice) -> list[dict[str, Any]]:
    """One row for each finished run."""
    return [
        {
            "label": o.task.label, "asked": o.task.rate, "seed": o.task.seed, "heat": number,
            "epochs": heat.epochs, "seconds": o.cost.seconds, **o.figures,
        }
        for number, heat in enumerate(choice.heats, 1)
        for o in heat.outcomes
        if o.error is None
    ]  # fmt: skip


def _warnings(choice: Choice) -> list[str]:
    """Contenders that had no run, and runs that ended elsewhere than asked."""
    found = [f"{label} at {rate:g}: {why}" for (rate, label), why in choice.refused.items()]
    last = choice.heats[-1].outcomes if choice.heats else []
    off = {
        f"{o.task.label} at {o.task.rate:g}": o.figures["file_bits_per_dimension"] / o.task.rate - 1
        for o in last
        if o.error is None and abs(o.figures["file_bits_per_dimension"] / o.task.rate - 1) > 0.02
    }
    if off:
        listed = ", ".join(f"{name} {share:+.1%}" for name, share in off.items())
        found.append(
            f"these runs ended more than 2 % from the rate asked for, and were brought to it along "
            f"their slope: {listed}"
        )
    return found


def _figure(choice: Choice) -> list[Section]:
    """Every contender's longest runs, means over seeds."""
    points: dict[str, list[tuple[float, ...]]] = {}
    longest = {
        (outcome.task.label, outcome.task.rate): heat
        for heat in choice.heats
        for outcome in heat.outcomes
        if outcome.error is None
    }
    for (label, rate), heat in longest.items():
        runs = heat.of(label, rate)
        bits, _ = interval([run.figures["file_bits_per_dimension"] for run in runs])
        nmse, half = interval([run.figures["file_nmse"] for run in runs])
        points.setdefault(label, []).append((bits, nmse, *([half] if half == half else [])))
    if not points:
        return []
    caption = (
        "Bits of real files without their headers, and what comes back from them: the longest runs "
        "of each contender, means over seeds."
    )
    return [Section("Rate and distortion", [rate_distortion(points, caption=caption)])]


_COLUMNS = {
    "quality": Column("quality", "dB, at the rate asked", best="highest", digits=4),
    "lead": Column("behind the first", "dB, interval of the race"),
    "bits": Column("file", "bits per dimension"),
    "gain": Column("last gain", "dB for each doubling of the epochs"),
    "seeds": Column("seeds"),
    "epochs": Column("epochs"),
    "seconds": Column("run", "s"),
    "state": Column("state"),
}


def _races(choice: Choice, pictures: Sequence[Format]) -> list[Section]:
    """A table for each rate: who ran how far, and where that ended."""
    found = []
    for rate, verdict in choice.verdicts.items():
        table = _race(choice, rate, verdict)
        others = {
            name: {"quality": value} for name, value in formats_page.at(pictures, rate).items()
        }
        table = dataclasses.replace(table, rows={**table.rows, **others})
        if table.rows:
            found.append(Section(f"At {rate:g} bits per dimension", [table]))
    return found


def _race(choice: Choice, rate: float, verdict: Verdict) -> Table:
    gain = gains(choice, rate, verdict)
    left = {one.label: one for one in verdict.dropped}
    order = sorted(verdict.finishes, key=lambda label: -mean(verdict.finishes[label]))
    order += [one.label for one in reversed(verdict.dropped) if one.label not in order]
    rows: dict[str, dict[str, Cell]] = {}
    for label in order:
        number = left[label].heat if label in left else verdict.heat
        heat = choice.heats[number] if number < len(choice.heats) else Runs(0)
        runs = heat.of(label, rate)
        if not runs:
            continue
        row: dict[str, Cell] = {
            "bits": _spread([run.figures["file_bits_per_dimension"] for run in runs]),
            "gain": gain.get(label),
            "seeds": len(runs),
            "epochs": heat.epochs,
            "seconds": sum(run.cost.seconds for run in runs) / len(runs),
            "state": "in the race",
        }
        if label in left:
            why = f"behind {left[label].by}" if left[label].by else "far from the rate"
            row["state"] = f"left after {len(runs)} seeds, {why}"
        if verdict.finishes.get(label):
            qualities = [run.quality for run in verdict.finishes[label].values()]
            row["quality"] = _spread([quality for quality in qualities if math.isfinite(quality)])
        lead = verdict.leads.get(label, left[label].lead if label in left else None)
        if lead is not None:
            row["lead"] = (lead.mean, lead.half) if math.isfinite(lead.half) else lead.mean
        rows[label] = row
    caption = (
        "Contenders, the best first; intervals of quality and bits over seeds, at 95 % each; each "
        "bound of the difference holds for the whole race."
    )
    return Table(caption, _COLUMNS, rows, corner="recipe")


def _spread(values: Sequence[float]) -> Cell:
    mean, half = interval(values)
    return (mean, half) if math.isfinite(half) else mean


def _pictures(choice: Choice, data: Dataset) -> list[Section]:
    """Reconstructions at equal rate of those that ran to the end."""
    if not gallery.shows_images(data):
        return []
    blocks: list[Block | str] = []
    x = gallery.held_out(data, gallery.COLUMNS)
    for rate, verdict in choice.verdicts.items():
        models = {
            label: Autoencoder.load(choice.heats[verdict.heat].of(label, rate)[0].folder / RUN)
            for label in verdict.finishes
        }
        if models:
            caption = f"Held-out images, and each as it comes back at {rate:g} bits per dimension."
            blocks.append(gallery.reconstructions(models, x, caption))
    return [Section("Reconstructions at equal rate", blocks)] if blocks else []


def _details(choice: Choice, data: Dataset) -> list[Section]:
    """What was run, folded."""
    columns = {
        "asked": Column("asked", "bits per dimension"),
        "bits": Column("file", "bits per dimension", digits=4),
        "quality": Column("quality", "dB", digits=4),
        "file_nmse": Column("NMSE"),
        "epochs": Column("epochs"),
        "seconds": Column("run", "s"),
    }
    table: dict[str, dict[str, Cell]] = {}
    for row in rows(choice):
        name = f"{row['label']}, heat {row['heat']}, {row['asked']:g}, seed {row['seed']}"
        quality = row.get("file_psnr", row.get("file_snr"))
        cells = {**row, "quality": quality, "bits": row["file_bits_per_dimension"]}
        table[name] = {key: cells[key] for key in columns}
    n = choice.options.get("train_examples", len(data.train))
    epochs = [str(heat.epochs) for heat in choice.heats]
    about = (
        f"{n} of {len(data.train)} training examples; the same network, batch size, optimiser and "
        f"schedule for all; heats of {' and '.join(epochs)} epochs; files of "
        f"{min(WRITTEN, len(data.test))} test examples; "
        f"{choice.seconds / 60:.0f} minutes."
    )
    return [Section("Every run", [about, Table("Finished runs.", columns, table, "run")], True)]
