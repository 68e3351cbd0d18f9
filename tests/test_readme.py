"""What the README shows runs."""

import re
from pathlib import Path

import pytest
import yaml

from narrows.cli import recipes
from narrows.cli.main import COMMANDS

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    scope: dict = {}
    exec(compile(code.replace("epochs=20", "epochs=2"), "README", "exec"), scope)
    assert "bits per image" in capsys.readouterr().out
    assert scope["restored"].shape == scope["images"].shape
    assert (tmp_path / "runs" / "vq-model" / "model.safetensors").is_file()


def test_the_commands_it_names_exist():
    named = set(re.findall(r"^narrows (\w+)", README, re.MULTILINE))
    assert named <= COMMANDS.keys()
    for recipe in re.findall(r"^narrows train ([a-z][\w-]*)", README, re.MULTILINE):
        assert recipe in recipes.names()


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_says_what_it_is_and_is_strict_yaml(name):
    path = recipes.find(name)
    assert path.read_text().startswith("# ")
    assert {"model", "fit"} <= yaml.safe_load(path.read_text()).keys()
