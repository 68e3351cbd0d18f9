"""`narrows train --resume RUN`, as a user meets it."""

from safetensors.torch import load_file

from narrows.cli.main import main
from narrows.training import loop
from tests.training.states import equal

SMALL = ["--fit.epochs", "2", "--fit.batch_size", "256", "--fit.show", "false"]


def test_a_stopped_run_is_resumed_by_its_folder_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("narrows.compare.pages.run.write", lambda *a, **k: None)
    recipe = ["train", "vq", "--model.bottleneck.size", "16", *SMALL]
    assert main([*recipe, "--out", str(tmp_path / "whole")]) == 0
    step, taken = loop.Loop._step, []

    def press(self, *arguments):
        taken.append(1)
        if len(taken) == 5:
            import signal

            signal.raise_signal(signal.SIGINT)
        return step(self, *arguments)

    monkeypatch.setattr(loop.Loop, "_step", press)
    assert main([*recipe, "--out", str(tmp_path / "stopped")]) == 130
    said = capsys.readouterr().err
    assert f"go on with: narrows train --resume {tmp_path / 'stopped'}" in said
    assert main(["train", "--resume", str(tmp_path / "stopped")]) == 0
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("whole", "stopped")]
    assert equal(*weights)
    assert main(["train", "--resume", str(tmp_path / "stopped")]) == 1
    assert "is finished" in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_a_usage_error(tmp_path, capsys):
    assert main(["train", "--resume", str(tmp_path)]) == 2
    assert "has no config.yaml" in capsys.readouterr().err
