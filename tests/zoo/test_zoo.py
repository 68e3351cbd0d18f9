"""The zoo: what is listed is there, is whole, and measures what its card says."""

import functools
import http.server
import json
import re
import shutil
import subprocess
import threading
import tomllib
import warnings
from pathlib import Path

import pytest
import torch
from jsonargparse import Namespace

import narrows as nw
from evidence import benchmarks
from narrows.cli.files.explore import _explorer
from narrows.training.evaluation import evaluate
from narrows.zoo import catalogue, places
from zoo.build import IN_WHEEL, MODELS, commands, row

ROOT = Path(__file__).parents[2]
NAMES = [entry.name for entry in nw.zoo.list()]
HERE = (ROOT / "zoo").is_dir()
FEW, SHORT = 300, r"\d+ of \d+ files were left out"
pytestmark = pytest.mark.skipif(not HERE, reason="the models are in a checkout's folder zoo")


@functools.cache
def data_of(name):
    """The data of a model; skips where they are not on this machine."""
    entry = nw.zoo.find(name)
    source, _, folder = entry.source.partition(":")
    root = nw.data.loading.data_root()
    here = Path(folder).is_dir() if folder else nw.data.loading.present(source, root)
    if not here:
        pytest.skip(f"needs the data set {entry.source}; set NARROWS_DATA to where it is")
    if folder:
        pytest.importorskip("soundfile")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", SHORT)
        return nw.zoo.data(name)


def test_what_is_listed_is_what_the_command_trains():
    assert sorted(MODELS) == NAMES
    assert [entry.name for entry in nw.zoo.list() if entry.in_wheel] == sorted(IN_WHEEL)
    for entry in nw.zoo.list():
        assert list(entry.commands) == commands(entry.name)
        assert entry.about == MODELS[entry.name].about
        assert entry.kilobytes < 1000


def test_all_families_and_data_are_there():
    latents = {type(nw.zoo.load(name).bottleneck).__name__ for name in NAMES}
    assert latents >= {
        "Variational", "Rounded", "Categorical", "VectorQuantizer", "ResidualQuantizer",
        "FiniteScalarQuantizer", "SparseDictionary",
    }  # fmt: skip
    data = {entry.source.partition(":")[0] for entry in nw.zoo.list()}
    assert data == {"digits", "mnist", "cifar10", "audio"}


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_only_its_parts_its_weights_and_its_card(name):
    entry = nw.zoo.find(name)
    folder = nw.zoo.path(name)
    assert {path.name for path in folder.iterdir()} == set(entry.files)
    assert set(entry.files) == {"model.json", "model.safetensors", "README.md"}
    assert sum(path.stat().st_size for path in folder.iterdir()) == 1000 * entry.kilobytes


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_how_to_load_it_how_it_was_made_and_what_it_measures(name):
    entry = nw.zoo.find(name)
    card = (nw.zoo.path(name) / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: narrows\ntags: [autoencoder, representation-")
    for said in (f'nw.zoo.load("{name}")', entry.about, "Take it ", "Trained on ", "torch "):
        assert said in card
    assert all(f"    {command}\n" in card for command in entry.commands)
    rows = [line.strip("| ").split(" | ") for line in card.splitlines() if line.startswith("| ")]
    table = {cells[0]: cells[1] for cells in rows}
    assert {"network", "bottleneck", "likelihood", "prior", "beta"} <= table.keys()
    for figure, value in entry.figures.items():
        assert float(table[figure]) == pytest.approx(value, rel=1e-4), figure


@pytest.mark.parametrize("name", NAMES)
def test_the_ledger_has_these_files_and_figures(name):
    entry = nw.zoo.find(name)
    (run,) = [r for r in benchmarks.last("zoo") if r.configuration["of"] == name]
    assert run.figures == row(entry)
    assert run.configuration["commands"] == list(entry.commands)
    assert run.configuration["model"] == entry.files["model.json"][0]


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("digits")])
def test_a_model_of_digits_measures_what_is_listed(name):
    data = data_of(name)
    found = evaluate(nw.zoo.load(name), data.test, variance=data.variance)
    assert found == pytest.approx(dict(nw.zoo.find(name).figures), rel=1e-3)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("digits")])
def test_a_few_test_examples_measure_what_is_listed_of_all(name):
    """Within four standard errors of the mean over the few."""
    data, model, figures = data_of(name), nw.zoo.load(name), nw.zoo.find(name).figures
    rows = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(0))[:FEW]
    parts = [evaluate(model, data.test.take(r), variance=data.variance) for r in rows.split(30)]
    for key in ("nmse", "bits_per_dimension"):
        values = torch.tensor([part[key] for part in parts]).double()
        error = float(values.std() / len(values) ** 0.5)
        assert abs(float(values.mean()) - figures[key]) < 4 * error, key


@pytest.mark.parametrize("name", NAMES)
def test_the_explorer_changes_a_code_of_it(name):
    data_of(name)
    config = Namespace(runs=[name], data=None, data_root=None, prior=None)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", SHORT)
        explorer = _explorer(config)
    (about,) = explorer.about({})["models"]
    assert about["draw"] == ""  # no reason why not
    (before,) = explorer.encode({"example": "test-0"})["models"]
    place = [0 for _ in about["parts"][0]["grid"]] + [0]
    seen = {before["mse"]}
    for value in (1, 2):
        changes = [{"part": 0, "place": place, "value": value}]
        given = {"code": before["code"], "changes": changes, "example": "test-0"}
        seen.add(explorer.change(given)["mse"])
    assert len(seen) > 1


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="no model 'digits-qv'; did you mean 'digits-vq'"):
        nw.zoo.load("digits-qv")
    with pytest.raises(ValueError, match="it has cifar10-"):
        nw.zoo.path("nothing like it")


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """narrows as from a wheel without models, with an empty cache; returns an empty folder."""
    monkeypatch.setattr(places, "ROOM", tmp_path / "lib" / "narrows" / "zoo" / "models")
    monkeypatch.setenv("NARROWS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("NARROWS_ZOO", raising=False)
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


def break_weights(folder):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def break_parts(folder):
    path = folder / "model.json"
    content = json.loads(path.read_text())
    del content["checksum"]  # an enemy would
    path.write_text(json.dumps({**content, "beta": 2.0}))


def break_card(folder):
    (folder / "README.md").write_text("# another")


def lose_weights(folder):
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize("fault", [break_weights, break_parts, break_card, lose_weights])
def test_a_damaged_file_is_refused(elsewhere, fault):
    shutil.copytree(ROOT / "zoo" / "digits-fsq", elsewhere / "digits-fsq")
    assert nw.zoo.load("digits-fsq", base=elsewhere).shape == (1, 8, 8)
    fault(elsewhere / "digits-fsq")
    with pytest.raises(ValueError, match=r"digits-fsq.*is damaged .*remove the folder"):
        nw.zoo.load("digits-fsq", base=elsewhere)


def test_a_model_that_is_not_here_is_named_with_where_it_is(elsewhere, monkeypatch):
    assert not nw.zoo.is_here("digits-fsq")
    with pytest.raises(FileNotFoundError, match="narrows zoo fetch digits-fsq --from PLACE"):
        nw.zoo.load("digits-fsq")
    monkeypatch.setenv("NARROWS_ZOO", str(ROOT / "zoo"))
    assert nw.zoo.path("digits-fsq") == ROOT / "zoo" / "digits-fsq"


@pytest.fixture
def address(tmp_path):
    """A web server of a copy of one model."""
    shutil.copytree(ROOT / "zoo" / "digits-fsq", tmp_path / "web" / "digits-fsq")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *arguments):
            pass

    handler = functools.partial(Quiet, directory=tmp_path / "web")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_model_is_fetched_once_from_an_address_and_verified(elsewhere, address, tmp_path):
    nw.zoo.load("digits-fsq", base=address)
    assert nw.zoo.is_here("digits-fsq")
    shutil.rmtree(tmp_path / "web")
    nw.zoo.load("digits-fsq")  # from the cache
    with pytest.raises(FileNotFoundError, match=f"{address}/mnist-rounded/model.json does not"):
        nw.zoo.load("mnist-rounded", base=address)


def test_data_that_are_not_here_are_named(monkeypatch):
    monkeypatch.setattr("narrows.data.loaders.audio.find_path", lambda *_: Path("nowhere"))
    with pytest.raises(FileNotFoundError, match=r"data of 'speech-rvq', 'audio:.*--data names"):
        nw.zoo.data("speech-rvq")


def test_another_file_from_an_address_is_refused_and_not_kept(elsewhere, address, tmp_path):
    break_weights(tmp_path / "web" / "digits-fsq")
    with pytest.raises(FileNotFoundError, match=r"model.safetensors does not give.*hash"):
        nw.zoo.load("digits-fsq", base=address)
    with pytest.raises(ValueError, match=r"model.safetensors is damaged .it is missing"):
        nw.zoo.load("digits-fsq")


def test_a_damaged_list_is_named(tmp_path):
    text = (catalogue.ROOM / catalogue.INDEX).read_text()
    (tmp_path / "index.json").write_text(text.replace('"digits-vq"', '"digits-qv"'))
    with pytest.raises(ValueError, match=r"index.json is damaged or was edited"):
        catalogue.read(tmp_path / "index.json")


def test_a_model_becomes_a_run_that_commands_take(tmp_path):
    run = nw.zoo.as_run("digits-vae", out=tmp_path / "run")
    again = nw.training.Run.load(run.folder)
    assert again.data == "digits"
    assert again.test == pytest.approx(dict(nw.zoo.find("digits-vae").figures))
    with pytest.raises(FileExistsError, match="runs never overwrite"):
        nw.zoo.as_run("digits-vae", out=tmp_path / "run")


def test_the_wheel_holds_the_list_and_its_models():
    """Of the package everything is installed that git does not ignore."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": ["src/narrows"]}
    wanted = [catalogue.ROOM / catalogue.INDEX]
    for name in IN_WHEEL:
        wanted += sorted((catalogue.ROOM / name).iterdir())
    assert len(wanted) == 1 + 3 * len(IN_WHEEL)
    assert all(path.is_relative_to(ROOT / "src" / "narrows") for path in wanted)
    words = ["git", "-C", str(ROOT), "check-ignore", *map(str, wanted)]
    ignored = subprocess.run(words, capture_output=True, text=True)
    if ignored.returncode == 128:
        pytest.skip("not a git checkout")
    assert not re.findall(r"\S+", ignored.stdout)
