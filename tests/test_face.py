"""`import narrows as nw` gives every name: to Python on first use, to an editor at once."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import narrows as nw

STUB = ast.parse(Path(nw.__file__).with_suffix(".pyi").read_text())
SHOWN = {
    alias.asname: (node.module, alias.name)
    for node in STUB.body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}  # what an editor sees


def test_an_editor_sees_what_python_gives():
    assert set(SHOWN) | {"__version__"} == set(dir(nw))


@pytest.mark.parametrize("name", SHOWN)
def test_a_flat_name_is_the_object_of_its_package(name):
    module, original = SHOWN[name]
    assert name == original
    if module == "narrows":
        assert getattr(nw, name) is import_module(f"narrows.{name}")
    else:
        home = import_module(module)
        assert getattr(nw, name) is getattr(home, name)
        assert name in getattr(home, "__all__", [name])


def test_every_module_is_there_without_importing_it_first():
    program = "import narrows as nw; nw.hub.Shared, nw.export.export_torch, nw.compare.__name__"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_face_does_not_import_torch():
    program = "import sys, narrows, narrows.cli.main; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_training_steps_wait_for_neither_figures_nor_simple_readers():
    program = (
        "import sys, narrows.cli.train, narrows.autoencoder, narrows.training.fit;"
        "late = {'matplotlib', 'sklearn', 'pandas', 'scipy.stats'} & set(sys.modules);"
        "assert not late, late"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        nw.Nothing  # noqa: B018


def test_clashing_names_are_those_of_the_parts_passed_to_a_model():
    assert issubclass(nw.Normal, nw.Likelihood)
    assert issubclass(nw.Split, nw.Bottleneck)
    assert issubclass(nw.Categorical, nw.Bottleneck)
    assert nw.distributions.Normal is not nw.Normal
    assert nw.data.Split is not nw.Split


def test_the_package_says_that_it_is_typed():
    assert (Path(nw.__file__).parent / "py.typed").is_file()
