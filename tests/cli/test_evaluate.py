"""`narrows evaluate` on a run that was just trained."""

import json

import pytest

from narrows.cli.main import main


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "ae"
    command = ["train", "ae", "--data", "digits", "--fit.epochs", "1", "--out", str(folder)]
    assert main(command) == 0
    return folder


def test_it_prints_the_figures_of_the_run(run, capsys):
    assert main(["evaluate", str(run)]) == 0
    found = json.loads(capsys.readouterr().out)
    stored = json.loads((run / "metrics.json").read_text())["test"]
    assert found["nmse"] == pytest.approx(stored["nmse"], rel=1e-5)
    assert "ssim" not in found


@pytest.mark.slow
def test_measures_are_added_on_request_for_the_split_asked_for(run, capsys):
    assert main(["evaluate", str(run), "--measures", "--split", "validation"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert 0 < found["ssim"] < 1
    assert found["real_on_real"] > 0.9
    assert 0 < found["unit_information"] < found["bits_per_example"]
    assert found["whole_information"] <= found["log_examples"] * (1 + 1e-9)
    assert {"nmse", "kid", "kid_floor", "linear_probe", "denoised_0.5"} <= found.keys()
