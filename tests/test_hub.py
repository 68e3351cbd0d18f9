"""Models as shared folders: they come back, say what they are, and run nobody's code."""

import json
import sys
import types
from pathlib import Path

import pytest
import torch

import narrows as nw
from narrows.bottlenecks import SparseDictionary, TopK, VectorQuantizer
from narrows.networks import Mlp
from tests.training.states import equal


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    data = nw.data.load("digits")
    torch.manual_seed(0)
    model = nw.Autoencoder.for_images(data.shape, VectorQuantizer(8, 4), network=Mlp([16]))
    return nw.fit(model, data, epochs=1, out=tmp_path_factory.mktemp("hub") / "run", show=False)


def test_a_model_comes_back_from_its_folder_without_the_hubs_library(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    folder = run.model.save_pretrained(tmp_path / "mine", run)
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "model.json", "model.safetensors",
    }  # fmt: skip
    again = nw.Autoencoder.from_pretrained(folder)
    assert equal(run.model.state_dict(), again.state_dict())
    x = torch.rand(3, *run.model.shape)
    assert torch.equal(run.model.encode(x), again.encode(x))
    assert torch.equal(run.model.bits(x), again.bits(x))
    with pytest.raises(ModuleNotFoundError, match=r"narrows\[huggingface\]"):
        nw.Autoencoder.from_pretrained("somebody/something")
    with pytest.raises(FileNotFoundError, match="no folder"):
        nw.Autoencoder.from_pretrained("./not-here")


def test_a_runs_own_folder_is_a_pretrained_model(run):
    assert equal(nw.Autoencoder.from_pretrained(run.folder).state_dict(), run.model.state_dict())


def test_the_card_carries_the_measured_table_with_units(run, tmp_path):
    text = (run.model.save_pretrained(tmp_path / "mine", run) / "README.md").read_text()
    assert text.startswith("---\nlibrary_name: narrows\n")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    table = {row[0]: row[1:] for row in rows}
    for name, value in run.test.items():
        assert float(table[name][0]) == pytest.approx(value, rel=1e-4), name
    assert table["bits_per_example"][1].startswith("bits per example")
    assert "VectorQuantizer(size=8, dim=4" in table["bottleneck"][0]
    assert "`digits` after 1 epochs" in text


def test_a_card_without_a_run_claims_nothing(run, tmp_path):
    text = (run.model.save_pretrained(tmp_path / "mine") / "README.md").read_text()
    assert "nmse" not in text
    run.model.save_pretrained(tmp_path / "mine", run)  # its own card may be replaced
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "README.md").write_text("# My project")
    with pytest.raises(FileExistsError, match="was not written by narrows"):
        run.model.save_pretrained(tmp_path / "theirs")


@pytest.mark.parametrize("where", ["bottleneck", "init_args"])
@pytest.mark.parametrize("path", ["malware.Bottleneck", "narrows.__main__.main", "Nowhere"])
def test_a_folder_that_names_foreign_code_is_refused_before_it_is_imported(
    tmp_path, monkeypatch, where, path
):
    (tmp_path / "malware.py").write_text("raise SystemExit('executed')")
    monkeypatch.syspath_prepend(str(tmp_path))
    model = nw.Autoencoder.for_vectors(4, SparseDictionary(8, 2, coder=TopK(1)))
    folder = model.save_pretrained(tmp_path / "model")
    parts = json.loads((folder / "model.json").read_text())
    place = (
        parts["bottleneck"] if where == "bottleneck" else parts["bottleneck"]["init_args"]["coder"]
    )
    place["class_path"] = path
    del parts["checksum"]  # an enemy could compute it
    (folder / "model.json").write_text(json.dumps(parts))
    with pytest.raises(ValueError, match=r"model.json.*not a part of narrows.*trust"):
        nw.Autoencoder.from_pretrained(folder)
    assert "malware" not in sys.modules


def test_a_part_of_a_module_that_the_program_imported_is_built(tmp_path, monkeypatch):
    module = types.ModuleType("users_own")
    code = "from narrows.bottlenecks import Identity\nclass Mine(Identity):\n    pass\n"
    exec(code, module.__dict__)
    monkeypatch.setitem(sys.modules, "users_own", module)
    folder = nw.Autoencoder.for_vectors(4, module.Mine(2)).save_pretrained(tmp_path / "mine")
    assert type(nw.Autoencoder.from_pretrained(folder).bottleneck) is module.Mine
    monkeypatch.delitem(sys.modules, "users_own")
    with pytest.raises(ValueError, match=r"trust=\['users_own'\]"):
        nw.Autoencoder.from_pretrained(folder)


def test_what_is_pushed_and_pulled_is_the_saved_folder(run, tmp_path, monkeypatch):
    """Against a stand-in for the hub with the three calls that narrows makes."""
    store, made = tmp_path / "store", []

    class HfApi:
        def create_repo(self, name, private, exist_ok):
            made.append((name, private, exist_ok))

        def upload_folder(self, repo_id, folder_path, commit_message):
            for path in Path(folder_path).iterdir():
                target = store / repo_id / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
            return f"commit of {repo_id}"

    def snapshot_download(name, revision, allow_patterns):
        assert set(allow_patterns) == {"model.json", "model.safetensors", "README.md"}
        return str(store / name)

    hub = types.ModuleType("huggingface_hub")
    hub.HfApi, hub.snapshot_download = HfApi, snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert run.model.push_to_hub("me/digits-vq", run) == "commit of me/digits-vq"
    assert made == [("me/digits-vq", True, True)]
    again = nw.Autoencoder.from_pretrained("me/digits-vq")
    assert equal(run.model.state_dict(), again.state_dict())
    assert "# digits-vq" in (store / "me" / "digits-vq" / "README.md").read_text()


def test_the_hubs_library_has_the_calls_that_are_made():
    hub = pytest.importorskip("huggingface_hub")
    from inspect import signature

    assert {"repo_id", "private", "exist_ok"} <= set(signature(hub.HfApi.create_repo).parameters)
    needed = {"repo_id", "folder_path", "commit_message"}
    assert needed <= set(signature(hub.HfApi.upload_folder).parameters)
    needed = {"repo_id", "revision", "allow_patterns"}
    assert needed <= set(signature(hub.snapshot_download).parameters)
