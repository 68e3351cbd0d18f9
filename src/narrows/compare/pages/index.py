"""One page over the runs of a folder, with a link to the page of each."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from narrows.compare.pages.run import COLUMNS, versions
from narrows.report import Column, Page, Section, Table
from narrows.report.table import Cell
from narrows.saving.trust import read_configuration
from narrows.training.run import read_figures

_DEPTH = 4  # folders below the given one
_FIRST = {"data": Column("data"), "seed": Column("seed"), "epochs": Column("epochs")}
_STARTED = "config.yaml"
OF_A_RUN = (_STARTED, "model.json")
"""Files that a run's folder has, and that of a comparison or a choice has not."""


def write(folder: Path) -> Path:
    """Writes `index.html`: the test figures of every finished run, and which have not ended.

    Args:
        folder: runs stand in it, or in folders of it.

    Returns:
        The page.

    Raises:
        FileNotFoundError: if there is no run in it.
    """
    found = sorted(_runs(folder))
    if not found:
        raise FileNotFoundError(
            f"'{folder}' is no run's folder and there is none in it: expected one that "
            "narrows train or narrows compare wrote (config.yaml and metrics.json)"
        )
    rows: dict[str, Mapping[str, Cell]] = {}
    links: dict[str, str] = {}
    warnings: list[str] = []
    for run in found:
        name = run.relative_to(folder).as_posix()
        if not (run / "metrics.json").is_file():
            warnings.append(
                f"{name}: not finished; narrows train --resume {shlex.quote(str(run))} goes on"
            )
            continue
        try:
            rows[name] = _figures(run)
        except (ValueError, OSError) as error:
            warnings.append(f"{name}: {error}")
            continue
        if (run / "report.html").is_file():
            links[name] = quote(f"{name}/report.html")
    page = Page(
        f"Runs in {folder.resolve().name}",
        [f"{len(rows)} finished runs; a click on a heading sorts by it."],
        [Section("Test figures", [Table.of(
            "Each on the test split of its own data, one seed; compare only what has one "
            "data set and one rate",
            {**_FIRST, **COLUMNS}, rows=rows, corner="run",
        ).linked(links)])] if rows else [],
        warnings=warnings,
        commands=[f"narrows report {shlex.quote(str(folder))}"],
        versions=versions(),
    )  # fmt: skip
    return page.write(folder / "index.html")


def _runs(folder: Path) -> list[Path]:
    """Folders of runs below one; links are not followed."""
    found = []
    for place, inner, names in os.walk(folder):
        path = Path(place)
        if any(name in names for name in OF_A_RUN):
            inner.clear()
            found.append(path)
        elif len(path.relative_to(folder).parts) >= _DEPTH:
            inner.clear()
    return found


def _figures(run: Path) -> Mapping[str, Cell]:
    """What stands in a row."""
    figures = read_figures(run)
    path = run / _STARTED
    fit = read_configuration(path).get("fit") or {} if path.is_file() else {}
    known = {name: fit[name] for name in ("seed", "epochs") if name in fit}
    return {"data": figures.get("data_name", figures["data"]), **known, **figures["test"]}
