"""What the README shows runs."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

import narrows
from narrows.cli import parsing, recipes, train
from narrows.cli.main import COMMANDS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_of_the_package_is_there(page):
    text = page.read_text()
    for dotted in re.findall(r"`nw\.([\w.]*\w)", text):
        found = narrows
        for name in dotted.split("."):
            found = getattr(found, name)
    for path in re.findall(r"`((?:\w+/)*\w+\.py)`", text):
        places = (ROOT / path, ROOT / "src" / "narrows" / path)
        assert any(place.exists() for place in places), path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_of_a_page_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_training_commands_of_a_page_are_understood(page):
    for line in re.findall(
        r"(?:^ *|`)narrows train ([a-z][^`\n]*)", page.read_text(), re.MULTILINE
    ):
        name, *options = shlex.split(line.partition(" #")[0])
        parser = train.parser()
        config = parsing.parse(parser, ["--config", str(recipes.find(name)), *options])
        assert parsing.instantiate(parser, config).model.bottleneck


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_says_what_it_is_and_is_strict_yaml(name):
    path = recipes.find(name)
    assert path.read_text().startswith("# ")
    assert {"model", "fit"} <= yaml.safe_load(path.read_text()).keys()
