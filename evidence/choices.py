"""What `narrows choose` found, from its races in the ledger."""

from pathlib import Path

from evidence.ledger import FOLDER, Run, latest
from evidence.pages import grid
from narrows.compare.statistics import interval
from narrows.report.markdown import paragraph
from narrows.training.rate import UNREACHED


def answers(name: str, folder: Path = FOLDER) -> str:
    """The sentence at each rate."""
    return "\n\n".join(paragraph(run.figures["answer"]) for run in races(name, folder))


def table(name: str, folder: Path = FOLDER) -> str:
    """Every contender at each rate: quality with its interval over seeds, and how it left."""
    rows = []
    for run in races(name, folder):
        figures, rate = run.figures, run.configuration["bits_per_dimension"]
        left = {label: (heat, by) for label, heat, by in figures["dropped"]}
        values = {
            label: near
            for label, by_seed in figures["quality"].items()
            if (near := [value for value in by_seed.values() if value is not None])
        }
        order = [*values]
        order.sort(key=lambda label: -interval(values[label])[0])
        order += [label for label in reversed(left) if label not in order]
        for label in order:
            lead = figures["leads"].get(label)
            row = [f"{rate:g}", label]
            row += [
                _decibel(values[label]) if label in values else "",
                str(len(values.get(label, []))),
            ]
            row += ["" if lead is None else f"{lead[0]:.2f}{_half(lead[1])}"]
            gain = figures["gains"].get(label)
            row += ["" if gain is None else f"{gain:.2f}", _state(label, left, figures["refused"])]
            rows.append(row)
    head = ["bits", "recipe", "dB", "seeds", "behind the first, dB", "last gain, dB", "state"]
    return grid(head, rows)


def provenance(name: str, folder: Path = FOLDER) -> str:
    """The command, what was trained, versions and hardware."""
    run = races(name, folder)[-1]
    own = run.configuration
    facts = {
        "training examples": own["train"],
        "epochs of short and long runs": ", ".join(map(str, own["epochs"])),
        "minutes": f"{(run.seconds or 0) / 60:.0f}",
        **run.versions,
        **run.hardware,
        "commit": run.commit,
    }
    lines = [f"- {what}: {value}" for what, value in facts.items()]
    return "\n".join([f"    {own['command']}", "", *lines])


def races(name: str, folder: Path = FOLDER) -> list[Run]:
    """The last race at each rate."""
    last = {
        run.configuration["bits_per_dimension"]: run
        for run in latest("choices", folder, choice=name)
    }
    return [last[rate] for rate in sorted(last)]


def _decibel(values: list[float]) -> str:
    mean, half = interval(values)
    return f"{mean:.2f}{_half(half)}"


def _half(half: float | None) -> str:
    return "" if half is None or half != half else f" ± {half:.2f}"


def _state(label: str, left: dict[str, tuple[int, str]], refused: dict[str, str]) -> str:
    if label not in left:
        return "in the race"
    heat, by = left[label]
    if not by:
        return (
            "did not reach the rate" if UNREACHED in refused.get(label, "") else "no run finished"
        )
    return f"left {'after short runs' if heat == 0 else 'in the last heat'}, behind {by}"
