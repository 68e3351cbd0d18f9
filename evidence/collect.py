"""From a folder that `narrows compare` or `narrows choose` wrote to lines of the ledger."""

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evidence.ledger import FOLDER, Run, append, now

SWEPT = re.compile(r"[a-z]\w*(\.[a-z_]\w*)+")
"""Columns that hold what a sweep set: names of arguments."""


def collect(folder: Path, name: str, ledger: Path = FOLDER) -> int:
    """Appends a comparison and its runs, or the races of a choice.

    Args:
        folder: with `results.csv` and `metrics.json`.
        name: of the comparison in the ledger.
        ledger: folder of the ledgers.

    Returns:
        How many runs, or races, were appended.
    """
    summary = json.loads((folder / "metrics.json").read_text())
    if "races" in summary:
        return _races(summary, name, ledger)
    with (folder / "results.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if not row.get("prior")]
    train, test, judged = summary["examples"]
    about = {
        "comparison": name,
        "command": summary["command"],
        "data": summary["data"],
        "train": train,
        "test": test,
        "judged": judged,
        "recipes": list(dict.fromkeys(row["label"] for row in rows)),
        "seeds": summary["seeds"],
    }
    figures = {"references": summary["references"], "warnings": summary["advice"]}
    append("comparisons", now(about, figures), ledger)
    found = [_run(name, steps) for steps in _by_run(rows)]
    for run in found:
        append("runs", run, ledger)
    return len(found)


def _races(summary: Mapping[str, Any], name: str, ledger: Path) -> int:
    """One line for each rate."""
    shared = {key: summary[key] for key in ("command", "data", "train", "epochs")}
    for race, sentence in zip(summary["races"], summary["answers"], strict=True):
        about = {"choice": name, "bits_per_dimension": race["bits_per_dimension"], **shared}
        figures = {**race, "answer": sentence}
        append("choices", now(about, figures, seconds=summary["seconds"]), ledger)
    return len(summary["races"])


def _by_run(rows: list[dict[str, str]]) -> list[list[dict[str, str]]]:
    """The rows of each run: one for each step."""
    found: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in rows:
        key = (row["label"], row["seed"], *(row[n] for n in row if SWEPT.fullmatch(n)))
        found.setdefault(key, []).append(row)
    return list(found.values())


def _run(name: str, rows: list[dict[str, str]]) -> Run:
    steps = {float(row["step_factor"]): _figures(row) for row in rows}
    first, own = rows[0], steps.pop(1.0)
    others = {
        f"{factor:g}": {k: v for k, v in figures.items() if own.get(k) != v}
        for factor, figures in steps.items()
    }
    point = {n: v for n, v in first.items() if v and SWEPT.fullmatch(n)}
    configuration = {"comparison": name, "recipe": first["label"], "point": point}
    configuration["seed"] = int(first["seed"])
    return now(configuration, {**own, "steps": others}, seconds=own["seconds"])


def _figures(row: Mapping[str, str]) -> dict[str, Any]:
    """The numbers of a row; counts stay whole."""
    known = {"label", "seed", "step_factor", "prior"}
    given = {n: v for n, v in row.items() if v and n not in known and not SWEPT.fullmatch(n)}
    return {n: int(v) if re.fullmatch(r"-?\d+", v) else float(v) for n, v in given.items()}
