"""Prints how the package is built, in figures: what 0.1.0 had, what is wanted, what is there now.

python tools/structure.py           # the table
python tools/structure.py --check   # exit code 1 if a starred row does not hold
"""

import ast
import re
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "narrows"

# Names of parameters, fields and attributes that hold a model, a part of one or a data set.
PARTS = re.compile(
    r"_?(model|autoencoder|bottleneck|prior|likelihood|network|data|dataset|split)s?$"
)

Node = TypeVar("Node", bound=ast.AST)


class Tree:
    """The parsed files of a package."""

    def __init__(self, package: Path) -> None:
        texts = {path: path.read_text() for path in sorted(package.rglob("*.py"))}
        self.lines = {path: len(text.splitlines()) for path, text in texts.items()}
        self.texts = list(texts.values())
        self.trees = [ast.parse(text) for text in self.texts]

    def nodes(self, kind: type[Node]) -> Iterator[Node]:
        """All nodes of one kind."""
        for tree in self.trees:
            for node in ast.walk(tree):
                if isinstance(node, kind):
                    yield node


@dataclass(frozen=True)
class Row:
    """One line of the table: a figure, its bound, and whether CI holds it."""

    name: str
    before: float
    bound: str  # "<= 14" or "120 to 220"
    measure: Callable[[Tree], float]
    starred: bool = False

    def holds(self, value: float) -> bool:
        """Whether the value lies within the bound."""
        numbers = [float(number.replace(",", "")) for number in re.findall(r"[\d.,]+", self.bound)]
        low, high = numbers if len(numbers) == 2 else (0.0, numbers[0])
        return low <= value <= high


def lines(tree: Tree) -> float:
    return sum(tree.lines.values())


def median_lines(tree: Tree) -> float:
    """Without `__init__.py`, which only lists names."""
    return statistics.median(
        count for path, count in tree.lines.items() if path.name != "__init__.py"
    )


def fullest_folder(tree: Tree) -> float:
    return max(Counter(path.parent for path in tree.lines).values())


def long_functions(tree: Tree) -> float:
    """Over 40 lines from `def` to the end, docstring not counted."""
    return sum(length(node) > 40 for node in tree.nodes(ast.FunctionDef))


def length(function: ast.FunctionDef) -> int:
    documented = ast.get_docstring(function, clean=False) is not None
    return span(function) - (span(function.body[0]) if documented else 0)


def span(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def wide_constructors(tree: Tree) -> float:
    return sum(arguments(node) > 7 for node in tree.nodes(ast.ClassDef))


def arguments(cls: ast.ClassDef) -> int:
    """Arguments of the constructor without self: of `__init__`, or the fields of a dataclass."""
    for node in cls.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            given = node.args
            return len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs) - 1
    marks = " ".join(ast.unparse(mark) for mark in [*cls.decorator_list, *cls.bases])
    fields = [n for n in cls.body if isinstance(n, ast.AnnAssign) and n.simple]
    fields = [n for n in fields if "ClassVar" not in ast.unparse(n.annotation)]
    return len(fields) if "dataclass" in marks or "NamedTuple" in marks else 0


def unused_arguments(tree: Tree) -> float:
    return sum(len(re.findall(r"^ +del [a-z_, ]+$", text, re.MULTILINE)) for text in tree.texts)


def any_per_thousand(tree: Tree) -> float:
    names = sum(node.id == "Any" for node in tree.nodes(ast.Name))
    imports = sum(node.name == "Any" for node in tree.nodes(ast.alias))
    return 1000 * (names + imports) / lines(tree)


def any_for_parts(tree: Tree) -> float:
    """Parameters, fields and results called a model, a part of one or a data set, and `Any`."""
    annotated = [(n.arg, n.annotation) for n in tree.nodes(ast.arg)]
    annotated += [(ast.unparse(n.target), n.annotation) for n in tree.nodes(ast.AnnAssign)]
    annotated += [(n.name, n.returns) for n in tree.nodes(ast.FunctionDef)]
    return sum(
        PARTS.match(name.removeprefix("self.")) is not None
        and annotation is not None
        and re.search(r"\bAny\b", ast.unparse(annotation)) is not None
        for name, annotation in annotated
    )


def tuple_checks(tree: Tree) -> float:
    calls = [n for n in tree.nodes(ast.Call) if ast.unparse(n.func) == "isinstance"]
    return sum(re.search(r"\btuple\b", ast.unparse(call.args[1])) is not None for call in calls)


ZOO = ("zoo/", "src/narrows/zoo/models/")
"""Folders of trained models, whose weights have a limit of their own."""


def tracked_megabytes(_tree: Tree) -> float:
    return megabytes(name for name in tracked() if not name.startswith(ZOO))


def zoo_megabytes(_tree: Tree) -> float:
    return megabytes(name for name in tracked() if name.startswith(ZOO))


def tracked() -> list[str]:
    """The paths of the files that git tracks."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout
    return [name for name in listed.split("\0") if name]


def megabytes(names: Iterable[str]) -> float:
    paths = [ROOT / name for name in names]
    return sum(path.lstat().st_size for path in paths if path.is_file()) / 1e6


ROWS = [
    Row("lines in src/narrows", 35207, "<= 26,500", lines),
    Row("lines per file, median", 101, "120 to 220", median_lines),
    Row("files in one folder, most", 30, "<= 14", fullest_folder, starred=True),
    Row("functions over 40 lines, docstring not counted", 4, "<= 0", long_functions, starred=True),
    Row("constructors over 7 arguments", 8, "<= 2", wide_constructors, starred=True),
    Row("`del unused` lines", 78, "<= 15", unused_arguments, starred=True),
    Row("`Any` per 1,000 lines", 11.2, "<= 4", any_per_thousand, starred=True),
    Row("`Any` for a model, a part or a data set", 39, "<= 0", any_for_parts, starred=True),
    Row("isinstance checks for a tuple", 57, "<= 10", tuple_checks, starred=True),
    # 4 before the explorer, the tutorials and the site.
    Row("tracked tree without the zoo, MB", 10.1, "<= 4.45", tracked_megabytes, starred=True),
    Row("zoo of trained models, MB", 0, "<= 2", zoo_megabytes, starred=True),
]


def main() -> int:
    """Prints the table; with `--check`, returns 1 if a starred row misses its target."""
    tree = Tree(PACKAGE)
    failed = []
    print(f"{'':<48}{'0.1.0':>8}{'target':>14}{'now':>10}")
    for row in ROWS:
        value = row.measure(tree)
        verdict = "" if row.holds(value) else "  MISSED"
        if verdict and row.starred:
            failed.append(row.name)
        target = row.bound + (" *" if row.starred else "")
        print(f"{row.name:<48}{row.before:>8,g}{target:>14}{round(value, 1):>10,g}{verdict}")
    if failed and "--check" in sys.argv[1:]:
        print(f"starred rows that miss their target: {'; '.join(failed)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
