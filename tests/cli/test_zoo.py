"""`narrows zoo`."""

import pytest

import narrows as nw
from narrows.cli.main import main


def test_the_list_says_what_is_here_and_what_it_costs(capsys):
    assert main(["zoo"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [entry.name for entry in nw.zoo.list()]
    assert head.split()[:5] == ["name", "bits/dim", "NMSE", "kB", "here"]
    (line,) = [line.split() for line in lines if line.startswith("digits-vq ")]
    assert float(line[2]) == pytest.approx(nw.zoo.find("digits-vq").figures["nmse"], rel=1e-2)
    assert line[4] == "yes"


def test_a_model_is_shown_found_and_fetched(capsys, tmp_path):
    assert main(["zoo", "show", "digits-vq"]) == 0
    assert "narrows train vq-entropy --data digits" in capsys.readouterr().out
    assert main(["zoo", "path", "digits-vq"]) == 0
    assert capsys.readouterr().out.strip() == str(nw.zoo.path("digits-vq"))
    out = tmp_path / "run"
    assert main(["zoo", "fetch", "digits-vq", "--out", str(out)]) == 0
    assert f"narrows explore {out}" in capsys.readouterr().out
    assert main(["sample", str(out), "--n", "4"]) == 0
    assert main(["evaluate", str(out)]) == 0
    found = capsys.readouterr().out
    assert f"{nw.zoo.find('digits-vq').figures['nmse']:.3g}" in found


def test_what_is_not_here_is_shown_from_the_list(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("narrows.zoo.places.ROOM", tmp_path / "lib" / "narrows" / "zoo" / "models")
    monkeypatch.setenv("NARROWS_CACHE", str(tmp_path))
    assert main(["zoo", "show", "mnist-rounded"]) == 0
    shown = capsys.readouterr().out
    assert "narrows train rounded --data mnist" in shown
    assert "its files are not here: narrows zoo fetch mnist-rounded --from PLACE" in shown
    assert main(["zoo", "path", "mnist-rounded"]) == 1
    assert "NARROWS_ZOO" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["show", "digits-qv"], 1, "did you mean 'digits-vq'"),
        (["fetch"], 2, "expected show NAME, path NAME or fetch NAME"),
        (["get", "digits-vq"], 2, "got get"),
        (["path", "digits-vq", "--form", "x"], 2, "--from"),
    ],
)
def test_what_is_asked_wrongly_is_said(capsys, words, code, said):
    assert main(["zoo", *words]) == code
    assert said in capsys.readouterr().err
