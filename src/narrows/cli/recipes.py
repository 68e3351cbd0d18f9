"""`narrows recipes`: the list, and how a recipe's name becomes a file."""

import difflib
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from narrows.cli.main import UsageError
from narrows.saving.trust import read_configuration

CONFIG = "config.yaml"
"""What a run's folder calls its recipe."""


def folder() -> Path:
    """Where the recipes that come with narrows are."""
    return Path(str(files("narrows") / "recipes"))


def names() -> dict[str, str]:
    """Each recipe's first comment line, by name."""
    return {path.stem: _about(path) for path in sorted(folder().glob("*.yaml"))}


def find(recipe: str) -> Path:
    """The file of a recipe: a name from the list, a YAML file, or a run's folder.

    Raises:
        UsageError: if there is none, with a suggestion.
        ValueError: if a run's folder names code that is not trusted, or another version wrote it.
    """
    path = Path(recipe)
    if path.is_dir() and (path / CONFIG).is_file():
        read_configuration(path / CONFIG)
        return path / CONFIG
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise UsageError(f"there is no recipe file {recipe}")
        if _of_run(path):  # which may come from anywhere
            read_configuration(path)
        return path
    shipped = folder() / f"{recipe}.yaml"
    if shipped.is_file():
        return shipped
    near = difflib.get_close_matches(recipe, names(), 1, 0.5)
    hint = f"did you mean {near[0]!r}?" if near else "`narrows recipes` lists them"
    raise UsageError(f"there is no recipe {recipe!r}; {hint}")


SHORT = {
    "--epochs": "fit.epochs",
    "--seed": "fit.seed",
    "--batch-size": "fit.batch_size",
    "--learning-rate": "fit.optimization.learning_rate",
}
"""Short names of what everyone sets."""


def in_full(arguments: Sequence[str]) -> list[str]:
    """Words of a command line with the short names of settings written in full."""
    words = [word.partition("=") for word in arguments]
    return [f"--{SHORT[o]}{eq}{v}" if o in SHORT else f"{o}{eq}{v}" for o, eq, v in words]


def _of_run(path: Path) -> bool:
    """True if a file is the configuration of a run, not a recipe that the user wrote."""
    beside = ("metrics.jsonl", "model.json", "environment.json", "checkpoints")
    if path.name == CONFIG and any((path.parent / name).exists() for name in beside):
        return True
    return re.search(rb"^[\s{,\"']*format[\"']?\s*:", path.read_bytes(), re.MULTILINE) is not None


def _about(path: Path) -> str:
    first = path.read_text().partition("\n")[0]
    return first.removeprefix("#").strip()


def run(arguments: list[str]) -> None:
    """Prints the recipes, a line each."""
    from narrows.cli import parsing

    parsing.parse(parsing.parser("recipes", "List the recipes that come with narrows."), arguments)
    listed = names()
    width = max(map(len, listed), default=0)
    for name, about in listed.items():
        print(f"{name:{width}}  {about}")
