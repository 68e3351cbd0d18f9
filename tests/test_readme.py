"""What README and docs show runs."""

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


def name_of(page: Path) -> str:
    return page.name


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_the_python_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope: dict = {}
    for code in blocks(page, "python"):
        exec(compile(code.replace("epochs=20", "epochs=2"), page.name, "exec"), scope)


def test_the_example_of_the_readme_does_what_its_comments_say(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scope: dict = {}
    code, layer = blocks(ROOT / "README.md", "python")
    exec(compile(code.replace("epochs=20", "epochs=2"), "README", "exec"), scope)
    assert "bits per image" in capsys.readouterr().out
    assert scope["code"].shape == (8, 4, 4)
    assert scope["restored"].shape == scope["images"].shape
    assert (tmp_path / "runs" / "vq-model" / "model.safetensors").is_file()
    exec(compile(layer, "README", "exec"), scope)
    assert scope["code"].shape == (8, 8, 8)
    assert int(scope["layer"].bottleneck.codebook.updates) == 1


def test_the_commands_it_names_exist():
    named = set(re.findall(r"^narrows (\w+)", README, re.MULTILINE))
    assert named <= COMMANDS.keys()
    for recipe in re.findall(r"^narrows train ([a-z][\w-]*)", README, re.MULTILINE):
        assert recipe in recipes.names()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_a_page_names_of_the_package_is_there(page):
    text = page.read_text()
    for dotted in re.findall(r"`nw\.([\w.]*\w)", text):
        found = narrows
        for name in dotted.split("."):
            found = getattr(found, name)
    for path in re.findall(r"`((?:\w+/)*\w+\.py)`", text):
        places = (ROOT / path, ROOT / "src" / "narrows" / path)
        assert any(place.exists() for place in places), path


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_links_of_a_page_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if not target.startswith(("http", "reference/")):  # made, and checked, by `make docs`
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_training_commands_of_a_page_are_understood(page):
    for line in re.findall(
        r"(?:^ *|`)narrows train ([a-z][^`\n]*)", page.read_text(), re.MULTILINE
    ):
        name, *options = shlex.split(line.partition(" #")[0])
        parser = train.parser()
        words = ["--config", str(recipes.find(name)), *recipes.in_full(options)]
        config = parsing.parse(parser, words)
        assert parsing.instantiate(parser, config).model.bottleneck


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_recipe_on_a_page_is_understood(page, tmp_path):
    for text in blocks(page, "yaml"):
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        parser = train.parser()
        config = parsing.parse(parser, ["--config", str(path)])
        assert parsing.instantiate(parser, config).model.bottleneck


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_says_what_it_is_and_is_strict_yaml(name):
    path = recipes.find(name)
    assert path.read_text().startswith("# ")
    assert {"model", "fit"} <= yaml.safe_load(path.read_text()).keys()
