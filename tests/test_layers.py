"""Imports run downwards only."""

import ast
import re
from pathlib import Path

import pytest

import narrows

ROOT = Path(narrows.__file__).parent

# Each row may import from itself and from the rows above it.
LAYERS = [
    {"recorded", "modes", "following", "kernels", "hub", "saving", "tasks"},
    {"codes", "functional", "sparse", "distributions"},
    {"latent", "bottlenecks", "priors", "likelihoods", "networks"},
    {"autoencoder", "passes", "layer", "objectives"},
    {"codec", "data", "export", "generation", "metrics", "testing"},
    {"interop"},
    {"training"},
    {"report", "zoo"},
    {"compare"},
    {"choose", "explore"},
    {"cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def level(module: str) -> int | None:
    parts = module.split(".")
    return LEVEL.get(parts[1]) if len(parts) > 1 else None


def imported(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return {name for name in found if name.split(".")[0] == "narrows"}


FILES = sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.stem in LEVEL)


def test_the_architecture_page_shows_these_layers():
    page = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text()
    table = page.split("| layer | may import |")[1].split("\n\n")[0].splitlines()[2:]
    shown = [set(re.findall(r"`(\w+)`", row.split("|")[1])) for row in table]
    assert shown == LAYERS


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_its_layer_or_below(path):
    own = LEVEL[path.relative_to(ROOT).parts[0].removesuffix(".py")]
    for name in imported(ast.parse(path.read_text())):
        other = level(name)
        assert other is None or other <= own, f"{path.relative_to(ROOT)} imports {name}"


def test_every_module_has_a_layer():
    known = LEVEL.keys() | {"__init__", "__main__", "__pycache__", "py", "recipes"}
    found = {path.stem for path in ROOT.iterdir()}
    assert found <= known, f"not in any layer: {found - known}"


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_library_imports_nothing_else_of_this_repository(path):
    others = {"reproductions", "evidence", "benchmarks", "examples", "tests", "tools", "zoo"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert others.isdisjoint(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            assert (node.module or "").split(".")[0] not in others


def test_the_rule_can_fail():
    tree = ast.parse("from narrows.training import fit\nimport narrows.cli.main")
    assert {level(name) for name in imported(tree)} == {LEVEL["training"], LEVEL["cli"]}
