"""The command: exit codes, sentences, suggestions."""

import re
import subprocess
import sys

import pytest

from narrows.cli.main import COMMANDS, main


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"train"}))
def test_the_help_of_a_command_names_its_options_and_no_insides_of_the_program(command, capsys):
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code in (0, None)
    text = capsys.readouterr().out
    assert f"usage: narrows {command}" in text
    assert not [word for word in ("<function", "type: ", "null", "SUPPRESS") if word in text]


def test_help_keeps_tables_and_says_a_default_that_is_zero(capsys):
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    assert "\nonnx     encoder.onnx" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["sample", "--help"])
    assert "of the draws (default: 0)" in capsys.readouterr().out


def test_help_does_not_import_torch():
    code = (
        "import sys; from narrows.cli.main import main; main(['--help']); "
        "sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tarin"], "did you mean 'train'"),
        (["train"], "usage"),
        (["train", "vqq"], "did you mean 'vq"),
        (["train", "vq", "--model.bottleneck.sise", "3"], "did you mean size"),
        (["train", "vq", "--fit.epochz", "3"], "--fit.epochs"),
        (["train", "vq", "--fit.epochs", "many"], "epochs"),
        (["train", "--out", "x"], "recipe first"),
        (["recipes", "--nothing"], "--nothing"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_exit_code_2(arguments, said, capsys, tmp_path):
    if arguments == ["train"]:
        assert main(arguments) == 0  # its help
        return
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("narrows: ")
    assert said in captured.err
    assert "Traceback" not in captured.err


def test_a_failure_is_one_sentence_and_exit_code_1(capsys, tmp_path):
    assert main(["train", "vq", "--data", "digitz", "--out", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert "did you mean" in error
    assert "digits" in error
    assert not (tmp_path / "run").exists(), "nothing may be written before the data is known"


def test_debug_shows_the_error_itself():
    with pytest.raises(ValueError, match="digits"):
        main(["train", "vq", "--data", "digitz", "--debug"])


def test_an_occupied_run_folder_is_refused_and_left_alone(capsys, tmp_path):
    (tmp_path / "precious.txt").write_text("keep me")
    assert main(["train", "vq", "--out", str(tmp_path)]) == 1
    assert "never overwrite" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_print_config_shows_what_would_run(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "vq", "--model.bottleneck.size", "33", "--print_config"])
    assert stop.value.code == 0
    assert "size: 33" in capsys.readouterr().out


def test_check_says_where_data_is_looked_for(capsys, monkeypatch):
    monkeypatch.setenv("NARROWS_DATA", "nowhere-at-all")
    assert main(["check"]) == 0
    text = capsys.readouterr().out
    assert "nowhere-at-all (missing)" in text
    assert "torch" in text


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("learning.inti", "kmeans", "did you mean init?"),
        ("init", "kmeans", "did you mean learning.init?"),
        ("learning.init", "kmeens", "'kmeans'"),
        ("learning.decay", "3", r"expected decay in \[0, 1\), got 3"),
    ],
)
def test_a_wrong_option_of_a_group_is_met_with_its_place(option, value, said, tmp_path, capsys):
    command = ["train", "vq", "--data", "digits", "--out", str(tmp_path / "run")]
    assert main([*command, f"--model.bottleneck.{option}", value]) != 0
    error = capsys.readouterr().err
    assert re.search(said, error)
    assert "Union" not in error


def test_a_folder_that_is_gone_is_no_traceback(tmp_path):
    gone = tmp_path / "gone"
    script = (
        f"import os; os.mkdir({str(gone)!r}); os.chdir({str(gone)!r}); os.rmdir({str(gone)!r})\n"
        "from narrows.cli.main import main; raise SystemExit(main(['recipes']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "vq-fast" in done.stdout
