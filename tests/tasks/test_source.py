"""A key changes with whatever its task executes, and with nothing else."""

import sys

import pytest

from narrows.tasks import Call, source
from tests.tasks import chores


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of the user's, and a function that writes one of its files and gives the hash."""
    monkeypatch.syspath_prepend(tmp_path)
    root = tmp_path / "mine"
    root.mkdir()
    files = {
        "__init__.py": "from mine.lazy import other\nfrom mine.parts import Part\n",
        "tasks.py": (
            "from mine import Part\nfrom . import maths\n"
            "HIDDEN = 8\nCAPTION = 'a'\n\n"
            "def train(folder):\n    return {'x': maths.double(helper() * HIDDEN), 'p': Part()}\n\n"
            "def helper():\n    import mine.late\n    return 1\n\n"
            "def draw():\n    return CAPTION\n"
        ),
        "parts.py": "import torch\n\nclass Part:\n    size = 1\n",
        "maths.py": "def double(x):\n    '''Doubles.'''\n    return 2 * x  # twice\n",
        "late.py": "VALUE = 1\n",
        "lazy.py": "other = 1\n",
        "kernel.cpp": "int f() { return 1; }\n",
        "classes.py": "class Named:\n    pass\n",
    }
    for name, text in files.items():
        (root / name).write_text(text)

    def hash_with(name=None, old="", new="", imports=()):
        if name is not None:
            text = (root / name).read_text()
            assert old in text
            (root / name).write_text(text.replace(old, new))
        for cached in (source.source_hash, source._read, source._path, source._folders):
            cached.cache_clear()
        found = source.source_hash("mine.tasks", "train", imports)
        if name is not None:
            (root / name).write_text(text)
        return found

    return hash_with


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("tasks.py", "HIDDEN = 8", "HIDDEN = 9"),
        ("tasks.py", "return 1", "return 2"),
        ("maths.py", "2 * x", "3 * x"),
        ("parts.py", "size = 1", "size = 2"),
        ("late.py", "VALUE = 1", "VALUE = 2"),
        ("kernel.cpp", "return 1", "return 2"),
        ("__init__.py", "from mine.parts", "from mine.classes"),
        ("tasks.py", "CAPTION = 'a'", "print('at import')"),
    ],
)
def test_what_the_task_executes_changes_its_hash(package, name, old, new):
    assert package(name, old, new) != package()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("tasks.py", "CAPTION = 'a'", "CAPTION = 'b'"),
        ("tasks.py", "return CAPTION", "return CAPTION * 2"),
        ("maths.py", "Doubles.", "Multiplies by two."),
        ("maths.py", "# twice", "# 2 x"),
        ("maths.py", "def double", "\n\n\ndef double"),
        ("lazy.py", "other = 1", "other = 2"),
        ("classes.py", "pass", "size = 1"),
    ],
)
def test_nothing_else_does(package, name, old, new):
    assert package(name, old, new) == package()


def test_what_a_configuration_names_is_followed_too(package):
    named = ("mine.classes.Named", "no.such.Class", "fit.epochs")
    assert package(imports=named) != package()
    assert package("classes.py", "pass", "size = 1", imports=named) != package(imports=named)


def modules(module, name):
    """All that is followed from a name."""
    pending, seen = [(module, name)], set()
    while pending:
        item = pending.pop()
        if item not in seen:
            seen.add(item)
            pending += source._read(*item)[1]
    return {module for module, _ in seen}


def test_training_depends_on_parts_and_loop_but_on_no_page():
    found = modules("narrows.cli.train", "train")
    assert {"narrows.training.loop", "narrows.autoencoder", "narrows.data.loading"} <= found
    assert not any(name.startswith(("narrows.report", "narrows.codec", "torch")) for name in found)


def test_a_package_that_finds_its_names_on_first_use_is_followed_whole():
    assert "narrows.bottlenecks.quantizers.vector" in modules("narrows", source.ALL)


def test_anything_that_changes_the_result_changes_the_key():
    keys = {
        Call(chores.number, {"value": 1.0}).key,
        Call(chores.number, {"value": 1.0, "seed": 1}).key,
        Call(chores.number, {"value": 2.0}).key,
        Call(chores.slow, {"value": 1.0}).key,
    }
    assert len(keys) == 4
    assert all(key.startswith(("number-", "slow-")) for key in keys)
    assert "tests.tasks.chores" in sys.modules
