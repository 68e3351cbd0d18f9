"""Tables of the benchmarks, from the last run of each row; some are means over seeds."""

import dataclasses
import itertools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evidence.ledger import FOLDER, Run, append, now, read
from evidence.pages import grid
from narrows.report import Picture, theme

STEP_SIZES = ("4", "2", "1", "0.5")


def last(benchmark: str, folder: Path = FOLDER) -> list[Run]:
    """The last figures of each row of a benchmark and each seed, in the order of the first runs.

    A later run of a row replaces the figures that it measured, and no others.

    Raises:
        LookupError: if there is none.
    """
    found: dict[tuple[Any, Any], Run] = {}
    for run in read("benchmarks", folder):
        known = run.configuration
        if known["benchmark"] == benchmark:
            key = known["of"], known.get("seed")
            before = found[key].figures if key in found else {}
            found[key] = dataclasses.replace(run, figures={**before, **run.figures})
    if not found:
        raise LookupError(f"evidence/benchmarks.jsonl has no run of {benchmark}")
    return list(found.values())


def table(name: str, corner: str = "", heads: str = "") -> str:
    """One row per contestant, one column per figure.

    Args:
        name: of the benchmark.
        corner: heading of the contestants, "_" for a space.
        heads: the figures, with semicolons between, "_" for a space; all by default.
    """
    runs = last(name)
    every = dict.fromkeys(itertools.chain.from_iterable(run.figures for run in runs))
    chosen = heads.replace("_", " ").split(";") if heads else every
    rows = [[run.configuration["of"], *(cell(run.figures.get(h)) for h in chosen)] for run in runs]
    return grid([corner.replace("_", " "), *chosen], rows)


def over_seeds(name: str, corner: str = "", heads: str = "") -> str:
    """One row per contestant: the mean of each figure, and its range over seeds.

    Args:
        name: of a benchmark whose figures are lists, a place for each seed.
        corner: heading of the contestants, "_" for a space.
        heads: the figures, with semicolons between, "_" for a space; all by default.
    """
    runs = last(name)
    chosen = heads.replace("_", " ").split(";") if heads else list(runs[0].figures)
    rows = []
    for run in runs:
        figures = [run.figures[head] for head in chosen]
        rows.append([run.configuration["of"], str(len(figures[0])), *map(_range, figures)])
    return grid([corner.replace("_", " "), "seeds", *chosen], rows)


def _range(values: Sequence[Any]) -> str:
    """The mean, and from where to where; of lists each place by itself."""
    if isinstance(values[0], list):
        return " / ".join(f"{statistics.mean(place):.3g}" for place in zip(*values, strict=True))
    mean, low, high = (f"{f(values):.4g}" for f in (statistics.mean, min, max))
    return mean if low == high else f"{mean} ({low} to {high})"


def cell(value: Any) -> str:
    """A figure as text; several of one kind with strokes between."""
    if value is None:
        return ""
    if isinstance(value, list):
        return " / ".join(map(cell, value))
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def figure(name: str, of: str, key: str, form: str = "g") -> str:
    """One figure, for a sentence; "_" for a space in the name of the row.

    Args:
        name: of the benchmark.
        of: the row.
        key: of the figure; "_" for a space, too.
        form: how Python writes the number.
    """
    (run,) = [run for run in last(name) if run.configuration["of"] == of.replace("_", " ")]
    return format(run.figures[key if key in run.figures else key.replace("_", " ")], form)


def stated(of: str) -> str:
    """A figure of a sentence that was measured once, with no program that repeats it alone.

    Args:
        of: its name.
    """
    (run,) = [run for run in last("stated") if run.configuration["of"] == of]
    return run.figures["value"]


def steps() -> str:
    """Training steps of the vector quantiser beside its peer's."""
    head = ["features x width, codes", "compiled kernel", "plain torch"]
    head += ["compiled search over a bare sgemm", "peak extra memory"]
    rows = []
    for run in last("vq-step"):
        f = run.figures
        speeds = [f["compiled_step_speedup"], f["torch_step_speedup"]]
        rows.append([run.configuration["of"], *(f"{speed:.1f} x" for speed in speeds)])
        rows[-1] += [f"{f['compiled_search_over_sgemm']:.1f} x", f"1/{f['memory_ratio']:.0f}"]
    return grid(head, rows)


def curve_at(seconds: str) -> str:
    """Test NMSE of both VQ-VAEs when they were first evaluated after so many training seconds.

    Args:
        seconds: with commas between.
    """
    moments = [float(moment) for moment in seconds.split(",")]
    head = ["", *(f"{moment:g} s" for moment in moments), "its end", "codes used"]
    rows = []
    for run in last("vq-curve"):
        points = run.figures["points"]
        found = [next((p for p in points if p[1] >= moment), None) for moment in moments]
        end = points[-1]
        row = [f"`{run.configuration['of']}`"]
        row += [f"{p[2]:.3g} ({p[1]:.0f} s)" if p else "" for p in found]
        rows.append([*row, f"{end[2]:.3g} ({end[1]:,.0f} s)", f"{end[4]:.0%}"])
    return grid(head, rows)


def curve(of: str, point: str, what: str, form: str = "g") -> str:
    """One number of a curve, for a sentence.

    Args:
        of: whose, "_" for a space.
        point: index of the evaluation; -1 is the last.
        what: seconds, nmse, ...
        form: how Python writes the number.
    """
    (run,) = [run for run in last("vq-curve") if run.configuration["of"] == of.replace("_", " ")]
    column = run.figures["columns"].index(what)
    return format(run.figures["points"][int(point)][column], form)


def sparse(data: str) -> str:
    """Distortion against bits of sparse codes, means over the seeds that all of them have.

    Args:
        data: name of the data set.
    """
    head = ["code, gradient", "L0", "NMSE unquantised", *(f"step {step}" for step in STEP_SIZES)]
    rows = []
    for name, runs in _by_contestant(f"sparse-{data}").items():
        figures = [run.figures for run in runs]
        counts = {"VQ": "1", "RVQ of 3": "3", "RVQ of 4": "4"}
        l0 = counts.get(name) or " / ".join(f"{f['l0']:.2f}" for f in figures)
        exact = " / ".join(f"{f['nmse_unquantised']:.3f}" for f in figures)
        points = [f"{bits:.0f}: {nmse:.3f}" for _, bits, nmse in _means(figures)]
        points = points if len(points) > 1 else [f"{points[0]} (no step)", "", "", ""]
        rows.append([name.replace("straight_through", "straight-through"), l0, exact, *points])
    return grid(head, rows)


def atoms() -> str:
    """Dictionaries of natural patches beside scikit-learn's, means over seeds."""
    head = ["photographs", "atoms", "Gabor-like, by seed", "median R^2", "L0", "objective, test"]
    rows = []
    for photographs in ("scikit-image", "scikit-learn"):
        for learner, runs in _by_contestant(f"olshausen-field-{photographs}").items():
            figures = [run.figures for run in runs]
            mean = {k: statistics.mean(f[k] for f in figures) for k in figures[0]}
            shares = " / ".join(f"{100 * f['gabor']:.0f}" for f in figures)
            learned = "no learning" not in learner
            rows.append([
                photographs, learner, f"{shares} %", f"{mean['median_r2']:.2f}",
                f"{mean['l0']:.1f}", f"{mean['objective']:.3f}",
                f"{mean['seconds']:.2g}" if learned else "",
            ])  # fmt: skip
    return grid([*head, "CPU seconds"], rows)


def curves_plot(folder: Path = FOLDER) -> Picture:
    """Test NMSE against training seconds of both VQ-VAEs."""
    figure, axes = theme.new_figure(6.4, 3.6)
    for index, run in enumerate(last("vq-curve", folder)):
        points = [point for point in run.figures["points"] if point[2] < 0.5]
        style = {**theme.series_style(index), "markersize": 4}
        seconds, nmse = [p[1] for p in points], [p[2] for p in points]
        axes.plot(seconds, nmse, label=run.configuration["of"], **style)
    ticks = [0.05, 0.06, 0.08, 0.1, 0.15, 0.2]
    axes.set(xlabel="training seconds", ylabel="test NMSE", yscale="log")
    axes.set_yticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    theme.legend(axes)
    return Picture(theme.to_svg(figure), "Test NMSE against training seconds", "")


def sparse_plot(data: str, folder: Path = FOLDER) -> Picture:
    """NMSE over bits, one line a contestant.

    Args:
        data: name of the data set.
        folder: of the ledger.
    """
    figure, axes = theme.new_figure(6.4, 4.2)
    for index, (name, runs) in enumerate(_by_contestant(f"sparse-{data}", folder).items()):
        points = _means([run.figures for run in runs])
        bits, nmse = [p[1] for p in points], [p[2] for p in points]
        axes.plot(bits, nmse, label=name, markersize=5, **theme.series_style(index))
    axes.set(xscale="log", xlabel="bits per image", ylabel="NMSE of the stored code")
    theme.legend(axes)
    return Picture(theme.to_svg(figure), "NMSE of the stored code over its bits", "")


def _by_contestant(benchmark: str, folder: Path = FOLDER) -> Mapping[str, list[Run]]:
    """The runs of each, one for each seed."""
    found: dict[str, list[Run]] = {}
    for run in last(benchmark, folder):
        found.setdefault(run.configuration["of"], []).append(run)
    return found


def _means(figures: Sequence[Mapping[str, Any]]) -> list[tuple[float, float, float]]:
    """(step, bits, NMSE) at each step, means over runs."""
    found = []
    for points in zip(*(f["points"] for f in figures), strict=True):
        bits, nmse = (statistics.mean(p[key] for p in points) for key in ("bits", "nmse"))
        found.append((points[0]["step"], bits, nmse))
    return found


def record(benchmark: str, of: str, figures: Mapping[str, Any], **options: Any) -> None:
    """Appends one row of a benchmark that has just been measured.

    Args:
        benchmark: its name.
        of: the row: who or what was measured.
        figures: by heading of the column.
        options: what else it depends on, such as `seed`.
    """
    append("benchmarks", now({"benchmark": benchmark, "of": of, **options}, figures))
