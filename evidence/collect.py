"""From a folder that `narrows choose` wrote to lines of the ledger."""

import json
from pathlib import Path

from evidence.ledger import FOLDER, append, now


def collect(folder: Path, name: str, ledger: Path = FOLDER) -> int:
    """Appends the races of a choice, one line for each rate.

    Args:
        folder: with `metrics.json`.
        name: of the choice in the ledger.
        ledger: folder of the ledgers.

    Returns:
        How many races were appended.
    """
    summary = json.loads((folder / "metrics.json").read_text())
    shared = {key: summary[key] for key in ("command", "data", "train", "epochs")}
    for race, sentence in zip(summary["races"], summary["answers"], strict=True):
        about = {"choice": name, "bits_per_dimension": race["bits_per_dimension"], **shared}
        figures = {**race, "answer": sentence}
        append("choices", now(about, figures, seconds=summary["seconds"]), ledger)
    return len(summary["races"])
