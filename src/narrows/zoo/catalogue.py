"""What there is: each model with how it was made, what it measures, and its files' checksums."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from narrows.saving.writing import check_keys, file_checksum, read_json

ROOM = Path(str(files("narrows") / "zoo" / "models"))
"""The folder that is installed: the list, and three of the models."""
INDEX = "index.json"
_KEYS = ("about", "source", "options", "commands", "figures", "files")
_REMEDY = "install narrows again"


@dataclass(frozen=True)
class Entry:
    """One model of the zoo.

    Attributes:
        name: such as "digits-vq".
        about: the latent and what it is there to show, in one sentence.
        source: the data that it was trained on, as `narrows.data.load` takes it.
        options: with which keyword arguments.
        commands: that made it, in their order.
        figures: of the stored model on the test split, in the units of `narrows.Run.test`.
        files: SHA-256 and bytes of each file, by name.
    """

    name: str
    about: str
    source: str
    options: Mapping[str, object]
    commands: tuple[str, ...]
    figures: Mapping[str, float]
    files: Mapping[str, tuple[str, int]]

    @property
    def in_wheel(self) -> bool:
        """True if the model is installed with narrows."""
        return (ROOM / self.name).is_dir()

    @property
    def kilobytes(self) -> float:
        """Of all files, in units of 1,000 bytes."""
        return sum(size for _, size in self.files.values()) / 1000

    def check(self, folder: Path) -> Path:
        """Returns a folder whose files are those of this model.

        Raises:
            ValueError: with the file, if one is missing or another than the one listed.
        """
        for name, (checksum, _) in self.files.items():
            path = folder / name
            if not path.is_file() or file_checksum(path) != checksum:
                fault = "its checksum is not the one listed" if path.is_file() else "it is missing"
                raise ValueError(
                    f"{path} is damaged ({fault} for {self.name!r} of this version of narrows): "
                    "remove the folder and take it from a whole copy"
                )
        return folder


@cache
def list() -> tuple[Entry, ...]:
    """All models, sorted by name.

    Raises:
        ValueError: if the list is damaged.

    Example:
        >>> import narrows as nw
        >>> [entry.name for entry in nw.zoo.list() if entry.in_wheel]
        ['digits-sparse-topk', 'digits-vae', 'digits-vq']
    """
    return read(ROOM / INDEX)


def find(name: str) -> Entry:
    """The model of a name.

    Raises:
        ValueError: if there is none, with the nearest.
    """
    entries = {entry.name: entry for entry in list()}
    if name in entries:
        return entries[name]
    near = difflib.get_close_matches(str(name), entries, 1, 0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"the zoo has no model {name!r}; {hint}it has {', '.join(entries)}")


def read(index: Path) -> tuple[Entry, ...]:
    """The entries of a list.

    Raises:
        ValueError: with the file and the fault, if it is damaged.
    """
    found = []
    for name, row in sorted(read_json(index, _REMEDY).items()):
        check_keys(row, index, _REMEDY, needed=_KEYS)
        stored = {file: (checksum, size) for file, (checksum, size) in row["files"].items()}
        found.append(Entry(name, **{**row, "commands": tuple(row["commands"]), "files": stored}))
    return tuple(found)
