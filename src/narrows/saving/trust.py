"""Which code a folder may name: parts of narrows, and modules that the user trusts.

The folder of a model or of a run may come from anywhere, and names the classes it is made of. All
names in it are looked at before anything is imported. Allowed are narrows' own parts, parts of
modules that the program has imported already, and modules that the user names: by `load(...,
trust=["mine"])`, by `narrows COMMAND --trust mine`, or in the environment variable NARROWS_TRUST.
"""

import contextlib
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import yaml

from narrows.recorded import Recorded, check_format
from narrows.saving.writing import check_keys, read_json, read_yaml

VARIABLE = "NARROWS_TRUST"
"""Environment variable with the trusted modules, between commas."""
_TRUSTED: ContextVar[tuple[str, ...]] = ContextVar("trusted", default=())
_FREE = {"data", "data_root", "data_options", "out"}
"""Keys of a configuration under which no class is ever looked for."""
_KEYS = _FREE | {"format", "model", "fit"}
_PARTS = {
    "format", "shape", "network", "bottleneck", "likelihood", "beta", "objective", "prior",
    "own_units", "sha256",
}  # fmt: skip
"""What a model.json holds."""


@contextmanager
def trusting(modules: Sequence[str]) -> Iterator[None]:
    """Trusts modules, and what is in them, within a `with` block and the processes begun there."""
    token = _TRUSTED.set((*_TRUSTED.get(), *modules))
    try:
        yield
    finally:
        _TRUSTED.reset(token)


def trusted() -> tuple[str, ...]:
    """The modules that the user trusts here."""
    return (*_TRUSTED.get(), *_in_the_environment())


def trusting_words() -> list[str]:
    """The words of this command that trust modules, to show it again."""
    return [word for module in _TRUSTED.get() for word in ("--trust", module)]


def _in_the_environment() -> list[str]:
    named = os.environ.get(VARIABLE, "").split(",")
    return [name.strip() for name in named if name.strip()]


def trust_options(folder: Path) -> str:
    """` --trust MODULE` as often as the next command on a run's folder needs it; often ""."""
    names = list[str]()
    for name, read in (("config.yaml", read_yaml), ("model.json", read_json)):
        if (folder / name).is_file():
            with contextlib.suppress(ValueError):
                content = read(folder / name, "")
                names += _names({k: v for k, v in content.items() if k not in _FREE})
    kept = _in_the_environment()
    strange = (name for name in names if not any(f"{name}.".startswith(f"{k}.") for k in kept))
    tops = dict.fromkeys(name.partition(".")[0] for name in strange)
    return "".join(f" --trust {top}" for top in tops if top != "narrows")


def name_modules(text: str, *modules: str) -> None:
    """Puts the current folder on the path if the user names a module that stands in it.

    Never otherwise: libraries try imports that may fail, and would run a file of that name.

    Args:
        text: what the user typed or wrote, with dotted names of classes.
        modules: named in full.
    """
    tops = {name.partition(".")[0] for name in (*dotted_names(text), *modules, *trusted())}
    here = any(Path(top).is_dir() or Path(f"{top}.py").is_file() for top in tops)
    if here and "" not in sys.path:
        sys.path.append("")


def read_model(path: Path, trust: str | Sequence[str] = ()) -> dict[str, Any]:
    """The content of a `model.json`, whose parts may be built.

    Raises:
        ValueError: if the file is damaged, of another version, or names code that is not trusted.
    """
    remedy = "take the model's folder from a whole copy, or save it again"
    content = read_json(path, remedy)
    check_format(content, path)
    refuse_strangers(content, path, trust=trust)
    check_keys(content, path, remedy, needed=(), optional=_PARTS)
    return content


def read_configuration(path: Path) -> dict[str, Any]:
    """The content of a run's `config.yaml`, which may be handed to the command line's parser.

    Raises:
        ValueError: if the file is damaged, of another version, or names code that is not trusted.
    """
    content = read_yaml(path, "take the run's folder from a whole copy, or train anew")
    check_format(content, path)
    for key in content:  # `config` would name a further file, which nobody has looked at
        if key.partition(".")[0] not in _KEYS:
            raise ValueError(f"{path} has the key {key!r}, which no run writes; remove it")
    refuse_strangers({k: v for k, v in content.items() if k not in _FREE}, path)
    return content


def refuse_strangers(parts: object, path: Path, *, trust: str | Sequence[str] = ()) -> None:
    """Refuses a description that would import code which the user has not named.

    Args:
        parts: plain data, of which every string counts, also one that is YAML or JSON itself.
        path: of the file that holds it.
        trust: modules that are trusted beside those of `trusted()`.

    Raises:
        ValueError: with the class paths, the file, and how to trust their modules.
    """
    allowed = (*trusted(), *([trust] if isinstance(trust, str) else trust))
    found = dict.fromkeys(name for name in _names(parts) if not _known(name, allowed))
    if found:
        tops = dict.fromkeys(name.partition(".")[0] for name in found)
        options = " ".join(f"--trust {top}" for top in tops)
        raise ValueError(
            f"{path} is made of {', '.join(found)}, which is not a part of narrows and was not "
            f"imported; if you trust that code: {options} on the command line, or "
            f"trust={[*tops]} in Python"
        )


def dotted_names(text: str) -> list[str]:
    """Everything in a text that may be a class path."""
    return re.findall(r"(?<![\w.])[^\W\d]\w*(?:\.[^\W\d]\w*)+", text)


def _names(parts: object) -> Iterator[str]:
    """The class paths of a description, and every string that a parser could take for one."""
    pending, seen = [parts], set[int]()
    while pending:
        part = pending.pop()
        if id(part) in seen:  # YAML's aliases can make a small file a tree without end
            continue
        if isinstance(part, (Mapping, list)):
            seen.add(id(part))
        if isinstance(part, Mapping):
            if isinstance(part.get("class_path"), str):
                yield part["class_path"]
            pending += [*part, *(inner for key, inner in part.items() if key != "class_path")]
        elif isinstance(part, list):
            pending += part
        elif isinstance(part, str):
            inner = _parsed(part)
            if inner != part:
                pending.append(inner)
            elif dotted_names(part) == [part]:
                yield part


def _parsed(text: str) -> object:
    """A string as a parser reads it; what is no YAML as the list of its dotted names."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return dotted_names(text)


def _known(name: str, allowed: Sequence[str]) -> bool:
    """True if a class path is of narrows, of a trusted module, or of a part imported already."""
    module, _, attribute = name.rpartition(".")
    if any(f"{name}.".startswith(f"{one}.") for one in allowed):
        return True
    if module.partition(".")[0] == "narrows" and "__main__" not in name:
        place = Path(__file__).parents[1].joinpath(*module.split(".")[1:])
        return place.is_dir() or place.with_suffix(".py").is_file()
    kind = vars(sys.modules[module]).get(attribute) if module in sys.modules else None
    return isinstance(kind, type) and issubclass(kind, Recorded)
