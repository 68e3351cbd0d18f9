"""Lines of the ledger: what was run, on what, and what came of it."""

import json
import lzma
import math
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from narrows.saving.writing import write_bytes

FOLDER = Path(__file__).parent
DIGITS = 8
"""Significant digits of a figure: more than any table shows."""


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes:
        configuration: plain data that says what was run; runs of equal configuration are repeats.
        figures: numbers by name; also lists and nested tables of numbers.
        seconds: it took; None if that is not known.
        commit: of the source that ran; "+" at the end: with changes that were not committed.
        versions: of narrows, torch and others.
        hardware: `processor` and `cores`.
        source: where the figures were read, if not from the program that computed them.

    Raises:
        ValueError: if something is missing that a reader needs to repeat the run.
    """

    configuration: Mapping[str, Any]
    figures: Mapping[str, Any]
    seconds: float | None
    commit: str
    versions: Mapping[str, str]
    hardware: Mapping[str, str | int]
    source: str = field(default="")

    def __post_init__(self) -> None:
        for name in ("configuration", "figures", "commit", "versions", "hardware"):
            if not getattr(self, name):
                raise ValueError(f"expected a run with its {name}, got none")
        if not {"processor", "cores"} <= self.hardware.keys():
            raise ValueError(f"expected processor and cores, got {dict(self.hardware)}")

    def line(self) -> str:
        """The run as a line of JSON, without its end."""
        content = {name: _rounded(v) for name, v in asdict(self).items() if v != ""}
        return json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def now(
    configuration: Mapping[str, Any], figures: Mapping[str, Any], *, seconds: float | None = None
) -> Run:
    """A run that this process has finished just now: commit, versions and hardware are its own."""
    from narrows.training.run import environment

    facts = environment()
    hardware = {"processor": facts["processor"], "cores": facts["cores"]}
    if facts["cuda"]:
        hardware["devices"] = ", ".join(facts["cuda"])
    return Run(configuration, figures, seconds, commit(), facts["versions"], hardware)


def commit() -> str:
    """The commit of this checkout; "unknown" outside of one."""
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":!evidence/*.jsonl*")
    return (_git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if changed else "")


def append(kind: str, run: Run, folder: Path = FOLDER) -> Path:
    """Adds a run at the end of a ledger.

    Args:
        kind: of run: the name of the file.
        run: what to add.
        folder: of the ledgers.

    Returns:
        The file.
    """
    path = folder / f"{kind}.jsonl"
    line = f"{run.line()}\n".encode()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:  # one write at the end of the file: lines of processes at the same time do not mix
        written = os.write(handle, line)
    finally:
        os.close(handle)
    if written != len(line):
        raise OSError(f"{path}: wrote {written} of {len(line)} bytes; remove the half line")
    return path


def holds(kind: str, run: Run, folder: Path = FOLDER) -> bool:
    """Whether a run of this configuration has ended with these figures before."""
    new = json.loads(run.line())
    same = ((old.configuration, old.figures) for old in read(kind, folder))
    return (new["configuration"], new["figures"]) in same


def read(kind: str, folder: Path = FOLDER) -> list[Run]:
    """All runs of a kind, the oldest first.

    Raises:
        ValueError: naming file and line, if a line is not a run.
    """
    found = []
    for path, text in _texts(kind, folder):
        for number, line in enumerate(text.splitlines(), 1):
            try:
                found.append(Run(**json.loads(line)))
            except (ValueError, TypeError) as error:
                raise ValueError(f"{path}, line {number}: {error}") from None
    return found


def close(kind: str, folder: Path = FOLDER) -> Path:
    """Packs all lines of a ledger into a volume, KIND.N.jsonl.xz, that is never touched again.

    Ledgers grow for ever, and a line is some twelve times as long as what is new in it.

    Raises:
        LookupError: if the ledger has no open lines.
    """
    path = folder / f"{kind}.jsonl"
    if not path.is_file():
        raise LookupError(f"{path} is not there: nothing to close")
    volume = folder / f"{kind}.{len(_volumes(kind, folder)) + 1:02}.jsonl.xz"
    write_bytes(volume, lzma.compress(path.read_bytes(), preset=9 | lzma.PRESET_EXTREME))
    path.unlink()
    return volume


def kinds(folder: Path = FOLDER) -> list[str]:
    """Of runs that there are ledgers of."""
    return sorted({path.name.partition(".")[0] for path in folder.glob("*.jsonl*")})


def _volumes(kind: str, folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{kind}.*.jsonl.xz"))


def _texts(kind: str, folder: Path) -> Iterator[tuple[Path, str]]:
    """Files of a ledger and what they hold, the oldest first."""
    for volume in _volumes(kind, folder):
        yield volume, lzma.decompress(volume.read_bytes()).decode()
    path = folder / f"{kind}.jsonl"
    if path.is_file():
        yield path, path.read_text(encoding="utf-8")


def latest(kind: str, folder: Path = FOLDER, **configuration: Any) -> list[Run]:
    """The runs whose configuration has these values; of repeats only the last.

    Raises:
        LookupError: if there is none.
    """
    found: dict[str, Run] = {}
    for run in read(kind, folder):
        if all(run.configuration.get(name) == value for name, value in configuration.items()):
            found[json.dumps(run.configuration, sort_keys=True)] = run
    if not found:
        raise LookupError(f"evidence/{kind}.jsonl has no run with {configuration}")
    return list(found.values())


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _rounded(value: Any) -> Any:
    """Numbers to `DIGITS` digits; a number that is not finite is null."""
    if isinstance(value, Mapping):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(part) for part in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value
