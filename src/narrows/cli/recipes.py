"""`narrows recipes`: the list, and how a recipe's name becomes a file."""

import difflib
from importlib.resources import files
from pathlib import Path

import yaml

from narrows.cli.main import UsageError
from narrows.recorded import check_format


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
    """
    path = Path(recipe)
    if path.is_dir() and (path / "config.yaml").is_file():
        return check(path / "config.yaml")
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            return path
        raise UsageError(f"there is no recipe file {recipe}")
    shipped = folder() / f"{recipe}.yaml"
    if shipped.is_file():
        return shipped
    near = difflib.get_close_matches(recipe, names(), 1, 0.5)
    hint = f"did you mean {near[0]!r}?" if near else "`narrows recipes` lists them"
    raise UsageError(f"there is no recipe {recipe!r}; {hint}")


def check(config: Path) -> Path:
    """The configuration of a run's folder, if this version of narrows can read it.

    Raises:
        ValueError: if another version wrote it.
    """
    check_format(yaml.safe_load(config.read_text()) or {}, config)
    return config


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
