"""Damage in a run's files is named, though what is damaged can still be read."""

import contextlib
import json
import os
import shutil
import stat

import pytest
import torch
import yaml

import narrows as nw
from narrows.cli.main import main


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run of two epochs, with a prior of its codes."""
    folder = tmp_path_factory.mktemp("files") / "run"
    data = nw.data.load("digits", train_examples=60, test_examples=20)
    torch.manual_seed(0)
    model = nw.Autoencoder.for_images(
        data.shape, nw.VectorQuantizer(8, 2), network=nw.networks.Mlp([8])
    )
    nw.fit(model, data, epochs=2, out=folder, show=False)
    assert main(["prior", str(folder), "--kind", "histogram"]) == 0
    return folder


@pytest.fixture
def run(whole, tmp_path):
    """A copy of it."""
    return shutil.copytree(whole, tmp_path / "run")


def damaged(path, read, step=1):
    """Writes a file with each single bit of every `step`-th byte flipped that reads otherwise."""
    content = path.read_bytes()
    meant = read(content)
    for place in range(0, len(content), step):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 7
        with contextlib.suppress(ValueError, yaml.YAMLError):
            if read(bytes(flipped)) == meant:
                continue  # white space, a quotation mark
        path.write_bytes(flipped)
        yield place
    path.write_bytes(content)


def test_a_flipped_bit_in_a_configuration_is_named_by_all_that_read_it(run, capsys):
    stopped = shutil.copytree(run, run.with_name("stopped"))
    (stopped / "metrics.json").unlink()
    for place in damaged(run / "config.yaml", yaml.safe_load, 41):
        shutil.copy(run / "config.yaml", stopped)
        for words in (["evaluate", run], ["train", run], ["train", "--resume", stopped]):
            assert main([*map(str, words)]) == 1, (place, words)
            assert "config.yaml" in capsys.readouterr().err
    nw.Run.load(run)


@pytest.mark.parametrize("name", ["metrics.json", "metrics.jsonl"])
def test_a_flipped_bit_in_the_figures_of_a_run_is_named_wherever_it_is(run, name):
    def read(content):
        return [json.loads(line) for line in content.splitlines()] if name[-1] == "l" else (
            json.loads(content)
        )  # fmt: skip

    for place in damaged(run / name, read, 7):
        with pytest.raises(ValueError, match=rf"{name} is damaged .*whole copy"):
            nw.Run.load(run)
        assert place >= 0
    rows = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text(rows[0])
    with pytest.raises(ValueError, match=r"metrics\.jsonl is damaged .*in metrics\.json"):
        nw.Run.load(run)
    (run / "metrics.jsonl").write_text("".join(rows))
    assert len(nw.Run.load(run).history) == 2


def test_every_description_that_a_run_writes_holds_its_checksum(run):
    found = [*run.rglob("*.json"), *run.rglob("*.yaml")]
    assert {path.name for path in found} == {
        "config.yaml", "environment.json", "metrics.json", "model.json", "prior.json",
    }  # fmt: skip
    for path in found:
        assert yaml.safe_load(path.read_text())["checksum"], path


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o007, 0o660)])
def test_all_files_of_a_run_have_the_mode_that_the_umask_leaves(tmp_path, mask, mode):
    data = nw.data.load("digits", train_examples=40, test_examples=20)
    model = nw.Autoencoder.for_images(data.shape, nw.Identity(2), network=nw.networks.Mlp([4]))
    before = os.umask(mask)
    try:
        run = nw.fit(
            model, data, epochs=3, out=tmp_path / "run", show=False,
            checkpoints=nw.training.Checkpoints(seconds=0),
        )  # fmt: skip
    finally:
        os.umask(before)
    files = {path for path in run.folder.rglob("*") if path.is_file()}
    assert {path.name for path in files} >= {
        "last.safetensors", "previous.safetensors", "best.safetensors", "model.safetensors",
    }  # fmt: skip
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {mode}


def test_runs_without_checksums_load_and_edited_settings_say_what_to_do(run, capsys):
    path, figures = run / "config.yaml", run / "metrics.json"
    text = path.read_text()
    path.write_text(text.replace("epochs: 2", "epochs: 1"))
    assert main(["train", str(run), "--out", str(run.with_name("new"))]) == 1
    assert "remove its line 'checksum'" in capsys.readouterr().err
    early = [line for line in path.read_text().splitlines() if "checksum" not in line]
    path.write_text("\n".join(early))
    kept = json.loads(figures.read_text())
    figures.write_text(
        json.dumps({k: v for k, v in kept.items() if k not in ("checksum", "history")})
    )
    nw.Run.load(run)
    assert main(["train", str(run), "--out", str(run.with_name("new"))]) == 0
    assert "epochs: 1" in (run.with_name("new") / "config.yaml").read_text()
