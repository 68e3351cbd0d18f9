import re
import shutil

import pytest
import torch

import narrows as nw
from narrows.cli.main import main
from narrows.compare.pages import index


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two finished runs, one with its page, one that was stopped, one that is damaged."""
    place = tmp_path_factory.mktemp("all of them")
    data = nw.data.from_array(torch.rand(40, 6), layout="nd", name="noise")
    for name, dim in (("deep/one", 2), ("two", 3)):
        model = nw.Autoencoder.for_vectors(6, nw.Identity(dim))
        nw.fit(model, data, epochs=1, out=place / name)
    (place / "deep/one/report.html").write_text("a page")
    shutil.copytree(place / "two", place / "damaged")
    text = (place / "damaged/metrics.json").read_text()
    (place / "damaged/metrics.json").write_text(text.replace("test", "tost", 1))
    (place / "stopped").mkdir()
    (place / "stopped/config.yaml").write_text("format: 2\n")
    return place


def test_every_finished_run_has_a_row_and_the_others_are_named(folder):
    page = index.write(folder).read_text()
    assert re.findall(r'<a href="(deep[^"]*)">', page) == ["deep/one/report.html"]
    assert '<th scope="row">two</th>' in page
    assert "2 finished runs" in page
    assert re.search("stopped: not finished; narrows train --resume .*stopped.* goes on", page)
    assert re.search("damaged: [^<]*metrics.json is damaged", page)
    nmse = nw.Run.load(folder / "two").test["nmse"]
    assert f">{nmse:#.3g}<" in page


def test_the_command_tells_a_folder_of_runs_from_a_run(folder, capsys):
    (folder / "index.html").unlink(missing_ok=True)
    main(["report", str(folder)])
    assert "index.html" in capsys.readouterr().out
    assert (folder / "index.html").is_file()


def test_a_folder_without_runs_is_refused(tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match="no run's folder and there is none in it"):
        index.write(tmp_path)
    assert not (tmp_path / "index.html").exists()
