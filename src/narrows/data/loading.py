"""Finding a data set by its name: the modules of `narrows.data.loaders` are the list."""

import difflib
import os
import pkgutil
from dataclasses import replace
from importlib import import_module
from inspect import signature
from pathlib import Path
from types import ModuleType

from narrows.data.dataset import Dataset
from narrows.data.splitting import subset
from narrows.saving.arguments import check_arguments


def sources() -> dict[str, ModuleType]:
    """The modules of `narrows.data.loaders` that load a data set, by name, sorted."""
    from narrows.data import loaders

    found = {}
    for info in pkgutil.iter_modules(loaders.__path__):
        module = import_module(f"{loaders.__name__}.{info.name}")
        if hasattr(module, "load") and hasattr(module, "ABOUT"):
            found[info.name] = module
    return dict(sorted(found.items()))


def present(name: str, root: Path | None = None) -> bool:
    """Whether the files of a data set are in the root or in the cache, or none are needed."""
    check = getattr(_find(name), "present", None)
    return check is None or check(root)


def load(
    name: str,
    root: str | Path | None = None,
    *,
    train_examples: int | None = None,
    test_examples: int | None = None,
    **options: object,
) -> Dataset:
    """Loads a data set by name: `"digits"`, `"mnist"`, `"folder:PATH"`, `"array:FILE"`, ...

    Args:
        name: a source, and after a colon what it needs to know (a path, a name).
        root: folder looked in first; by default the one that the environment variable
            NARROWS_DATA names, if any.
        train_examples: train on this many at most, drawn with a fixed seed; the name then says
            so, since figures of a part compare with those of the same part alone.
        test_examples: the same for validation and for test.
        options: keyword arguments of that source's own `load`.

    Raises:
        ValueError: if there is no such source, option or argument, or a number is below 1.
        FileNotFoundError: if its files are neither there nor can be had.

    Example:
        >>> load("digits").shape
        (1, 8, 8)
    """
    check_arguments("data.load", load, given=locals())
    source, colon, argument = name.partition(":")
    module = _find(source)
    if getattr(module, "ARGUMENT", None) is None and colon:
        raise ValueError(f"data {source!r} takes nothing after a colon, got {name!r}")
    if getattr(module, "ARGUMENT", None) is not None and not argument:
        raise ValueError(
            f"data {source!r} needs {module.ARGUMENT} after a colon, such as "
            f"{source}:{module.ARGUMENT}"
        )
    _check_options(module, source, options)
    given = {"root": data_root(root), "argument": argument}
    accepted = given.keys() & signature(module.load).parameters.keys()
    data = module.load(**{name: given[name] for name in accepted}, **options)
    limits = {"train_examples": train_examples, "test_examples": test_examples}
    kept = {limit: count for limit, count in limits.items() if count is not None}
    origin = replace(data.origin, source=name, options={**options, **kept})
    return replace(subset(data, **kept), origin=origin)


def data_root(root: str | Path | None = None) -> Path | None:
    """The folder to look in first: the one given, else NARROWS_DATA, else None.

    Raises:
        FileNotFoundError: if a folder was named and is not there.
    """
    named = root if root is not None else os.environ.get("NARROWS_DATA") or None
    if named is None:
        return None
    path = Path(named).expanduser()
    if not path.is_dir():
        origin = "the data root" if root is not None else "NARROWS_DATA"
        raise FileNotFoundError(f"{origin} names {str(path)!r}, which is not a folder")
    return path


def _find(source: str) -> ModuleType:
    found = sources()
    name = source.replace("-", "_")
    if name in found:
        return found[name]
    close = difflib.get_close_matches(name.lower(), found, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise ValueError(f"there is no data set {source!r}; {hint}known are {', '.join(found)}")


def _check_options(module: ModuleType, source: str, options: dict[str, object]) -> None:
    """Refuses an option that the source's `load` does not have."""
    hidden = ("root", "argument")
    known = [name for name in signature(module.load).parameters if name not in hidden]
    known += ["train_examples", "test_examples"]
    for option in options:
        if option not in known:
            close = difflib.get_close_matches(option, known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            allowed = ", ".join(known) or "none"
            raise ValueError(f"data {source!r} has no option {option!r}; {hint}it has {allowed}")
