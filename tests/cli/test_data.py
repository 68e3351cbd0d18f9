import io

import numpy as np
import pytest
from PIL import Image

from narrows.cli.main import main


def test_the_list_names_every_source_and_says_what_is_here(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("NARROWS_CACHE", str(tmp_path))
    monkeypatch.delenv("NARROWS_DATA", raising=False)
    assert main(["data"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("digits") and " yes " in line for line in lines)
    assert any(line.startswith("cifar10 ") and " no " in line for line in lines)
    assert any(line.startswith("folder:PATH") for line in lines)


def test_one_set_is_shown_with_variance_classes_and_a_contact_sheet(capsys, tmp_path):
    sheet = tmp_path / "sheet.png"
    assert main(["data", "digits", "--out", str(sheet)]) == 0
    text = capsys.readouterr().out
    assert "1,257 training, 180 validation, 360 test" in text
    assert "0.141" in text
    assert "8 122, 9 126 (training)" in text
    with Image.open(sheet) as image:
        assert image.size == (12 * 36 - 4, 8 * 36 - 4)  # digits enlarged by 4, and gaps
        assert len(np.unique(np.asarray(image))) > 10


def test_options_of_a_set_are_passed_on(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "templates", "--data-options.size", "5"]) == 0
    assert "1x5x5" in capsys.readouterr().out
    assert main(["data", "templates", "--data-options.sise", "5"]) == 1
    assert "did you mean 'size'" in capsys.readouterr().err


@pytest.mark.filterwarnings("default")
def test_what_is_left_out_is_listed_once_and_nothing_else_is_said_of_it(tmp_path, capfd):
    for number in range(12):
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(tmp_path / f"{number}.png")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    whole = io.BytesIO()
    Image.fromarray(noise).save(whole, "TIFF", compression="tiff_adobe_deflate")
    damaged = bytearray(whole.getvalue())
    damaged[900:1040] = bytes(140)  # of which libtiff itself says a word on stderr
    (tmp_path / "damaged.tif").write_bytes(damaged)
    data = f"folder:{tmp_path}"
    assert main(["data", data, "--out", str(tmp_path / "sheet.png")]) == 0
    said = capfd.readouterr()
    assert said.err == ""
    assert "left out         damaged.tif: damaged: " in said.out
    run = ["train", "ae", "--data", data, "--data-options.size", "8", "--epochs", "1"]
    assert main([*run, "--out", str(tmp_path / "run")]) == 0
    assert "narrows: note: 1 of 14 files were left out: damaged.tif" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["digit", "mnits"])
def test_an_unknown_set_is_answered_with_a_guess(capsys, name):
    assert main(["data", name]) == 1
    assert "did you mean" in capsys.readouterr().err


def test_a_set_is_written_as_shards_and_read_again(capsys, tmp_path):
    arguments = ["--out", str(tmp_path / "sheet.png")]
    folder = tmp_path / "written"
    assert main(["data", "digits", "--shards", str(folder), *arguments]) == 0
    assert f"shards           {folder}" in capsys.readouterr().out
    assert main(["data", f"shards:{folder}", *arguments]) == 0
    text = capsys.readouterr().out
    assert "1,257 training, 180 validation, 360 test" in text
    assert "8 122, 9 126 (training)" in text
    assert main(["data", "digits", "--shards", str(folder), *arguments]) == 1
    assert "choose another folder" in capsys.readouterr().err
