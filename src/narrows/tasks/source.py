"""The source that a task executes, as a hash: a kept result is reused only if it is the same.

Imports are followed from file to file, wherever in a file they stand. Of the file that defines
the task, and of a package's `__init__`, only what is reached by name counts; of any other file
the whole. Comments, docstrings and imports for type checkers do not count. Not followed are the
standard library, installed packages other than narrows, and `narrows.report`, which draws what
others have computed.
"""

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ALL = "*"
_DRAWS = "narrows.report"
_INSTALLED = {"site-packages", "dist-packages"}
_FOR_CHECKERS = {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

Item = tuple[str, str]
"""A module, and a name in it or `ALL`."""


@cache
def source_hash(module: str, name: str, imports: tuple[str, ...] = ()) -> str:
    """Hash of what a function or class of a module executes, as it was when first asked for.

    Args:
        module: its name, as one would import it.
        name: of the function or class.
        imports: dotted names of what it imports while it runs, such as the class paths of a
            configuration; names that are not of a followed module are passed over.

    Raises:
        TypeError: if the module cannot be found by its name.
    """
    if _path(module) is None:
        raise TypeError(
            f"expected a function or class of a module that another process can import, got {name} "
            f"of {module}; put it into a file of its own"
        )
    named = (_item(*dotted.rpartition(".")[::2]) for dotted in imports)
    pending, seen = [(module, name), *(item for item in named if item)], set[Item]()
    parts: dict[str, str] = {}
    while pending:
        item = pending.pop()
        if item not in seen:
            seen.add(item)
            text, found = _read(*item)
            parts[":".join(item)] = text
            pending += found
    return hashlib.sha256(repr(sorted(parts.items())).encode()).hexdigest()


@cache
def _read(module: str, name: str) -> tuple[str, list[Item]]:
    """What counts of a module, and what that imports."""
    path = _path(module)
    assert path is not None
    tree, typed = _parse(path.read_text(encoding="utf-8"))
    if (stub := path.with_suffix(".pyi")).is_file():
        typed += ast.parse(stub.read_text(encoding="utf-8")).body
    body = tree.body if name == ALL else _reached(tree.body, name)
    text = "".join(map(ast.dump, body))
    text += "".join(other.read_text() for other in sorted(path.parent.glob("*.cpp")))
    lazy = name == ALL and "__getattr__" in _bindings(tree.body)
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    items = {item for part in [*body, *(typed if lazy else [])] for item in _imports(part, package)}
    return text, sorted(items)


def _parse(text: str) -> tuple[ast.Module, list[ast.stmt]]:
    """A file without docstrings; and apart from it what only type checkers read."""
    tree, typed = ast.parse(text), []
    for node in ast.walk(tree):
        if isinstance(node, (*_DEFINITIONS, ast.Module)) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:]
    for node in list(tree.body):
        if isinstance(node, ast.If) and ast.unparse(node.test) in _FOR_CHECKERS:
            typed += node.body
            tree.body.remove(node)
    return tree, typed


def _reached(body: list[ast.stmt], name: str) -> list[ast.stmt]:
    """The statements that define a name, and what they name in turn; in the file's order.

    Statements that define nothing, such as a call, are executed by every import: they count.
    """
    bound = _bindings(body)
    kept = {id(part) for part in body} - {id(part) for parts in bound.values() for part in parts}
    pending, seen = [name], set[str]()
    while pending:
        for part in bound.get(pending.pop(), []):
            if id(part) not in kept:
                kept.add(id(part))
                names = {node.id for node in ast.walk(part) if isinstance(node, ast.Name)}
                pending += names - seen
                seen |= names
    return [part for part in body if id(part) in kept]


def _bindings(body: Iterable[ast.stmt]) -> dict[str, list[ast.stmt]]:
    """Which statements of a file define a name."""
    found: dict[str, list[ast.stmt]] = {}
    for part in body:
        inner = [part] if isinstance(part, _DEFINITIONS) else ast.walk(part)
        for node in inner:
            if isinstance(node, _DEFINITIONS):
                names = [node.name]
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [alias.asname or alias.name.partition(".")[0] for alias in node.names]
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names = [node.id]
            else:
                continue
            for name in names:
                found.setdefault(name, []).append(part)
    return found


def _imports(part: ast.stmt, package: str) -> Iterator[Item]:
    for node in ast.walk(part):
        if isinstance(node, ast.Import):
            found = [_item(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level]
            base = ".".join(
                [*(above if node.level else []), *([node.module] if node.module else [])]
            )
            found = [_item(base, alias.name) for alias in node.names]
        else:
            continue
        yield from (item for item in found if item)


def _item(module: str, name: str) -> Item | None:
    """What `from module import name` reaches; None if it is not followed."""
    if name and _path(f"{module}.{name}"):
        module, name = f"{module}.{name}", ALL
    path = _path(module)
    if path is None or module == _DRAWS or module.startswith(f"{_DRAWS}."):
        return None
    return module, (name or ALL) if path.stem == "__init__" else ALL


@cache
def _path(module: str) -> Path | None:
    """The file of a module; None if there is none or it is not followed."""
    top, *below = module.split(".")
    for folder in _folders(top):
        place = folder.joinpath(*below)
        for path in (place / "__init__.py", place.with_suffix(".py")):
            if path.is_file():
                return path
    return None


@cache
def _folders(top: str) -> list[Path]:
    """Where the modules of a top-level package are: its folders, or the file without its end."""
    try:
        spec = None if top in sys.stdlib_module_names else importlib.util.find_spec(top)
    except (ImportError, ValueError):  # ValueError: __main__, and what was made by hand
        spec = None
    if spec is None:
        return []
    places = list(spec.submodule_search_locations or []) or [
        (spec.origin or "").removesuffix(".py")
    ]
    own = top == "narrows"
    return [Path(p) for p in places if p and (own or not _INSTALLED & {*Path(p).parts})]
