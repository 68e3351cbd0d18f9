"""On a terminal (a pty here) long work shows itself and the time left, elsewhere nothing."""

import os
import pty
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from narrows.tasks.shown import SCREEN, examples, shown, shown_by_examples

ROOT = Path(__file__).parents[2]
TASKS = """
import sys
from pathlib import Path
from narrows.tasks import Call, Local
from tests.tasks import chores
with Local({workers}) as executor:
    tasks = [Call(chores.number, {{"value": 1.0, "seed": seed}}) for seed in range(3)]
    show = lambda outcome: print(outcome.task.key, file=sys.stderr)
    outcomes = executor.run(tasks, Path(sys.argv[1]), report=show)
    assert [o.error for o in outcomes] == [None] * 3
"""
NESTED = """
from narrows.tasks.shown import shown
with shown("outer", 2) as advance:
    with shown("inner"):
        advance(1)
try:
    with shown("fails"):
        raise KeyError
except KeyError:
    pass
with shown("last"):
    pass
"""
COMMANDS = """
import sys
from narrows.cli.main import main
run = sys.argv[1]
assert main(["train", "vq", "--data", "digits", "--epochs", "1", "--out", run]) == 0
assert main(["evaluate", run]) == 0
assert main(["prior", run, "--kind", "transformer", "--epochs", "2", "--width", "8"]) == 0
"""


def said(code, *words, terminal):
    """What a program writes to stderr, which is a terminal or a pipe."""
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    environ = {**os.environ, "PYTHONPATH": path, "TERM": "xterm", "COLUMNS": "100"}
    environ.pop("NO_COLOR", None)
    ours, theirs = pty.openpty() if terminal else os.pipe()
    command = [sys.executable, "-c", code, *map(str, words)]
    with subprocess.Popen(
        command, env=environ, stderr=theirs, stdout=subprocess.DEVNULL
    ) as process:
        os.close(theirs)
        found = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # how a pty says that nobody is there
                part = b""
            if not part:
                break
            found += part
    os.close(ours)
    assert process.returncode == 0, found.decode()
    return found.decode()


@pytest.mark.parametrize("workers", [1, 2])
def test_tasks_show_how_many_are_left_on_a_terminal_only(tmp_path, workers):
    seen = said(TASKS.format(workers=workers), tmp_path / "a", terminal=True)
    assert "runs" in seen
    assert "left" in seen
    assert seen.count("number-") >= 3
    quiet = said(TASKS.format(workers=workers), tmp_path / "b", terminal=False)
    assert [line.partition("-")[0] for line in quiet.splitlines()] == ["number"] * 3


def test_what_is_a_part_of_something_shown_shows_nothing_and_an_error_frees_the_terminal():
    seen = said(NESTED, terminal=True)
    assert [name in seen for name in ("outer", "inner", "fails", "last")] == [
        True,
        False,
        True,
        True,
    ]
    assert said(NESTED, terminal=False) == ""


@pytest.mark.slow
def test_commands_show_what_they_do(tmp_path):
    seen = said(COMMANDS, tmp_path / "run", terminal=True)
    for word in ("epoch 1/1", "examples", "transformer", "epoch 2/2", "left"):
        assert word in seen, word


def test_examples_count_only_for_whoever_shows_them(monkeypatch):
    counted = []
    examples(5)
    monkeypatch.setattr("narrows.tasks.shown.shown", lambda *_: nullcontext(counted.append))
    with shown_by_examples("x", 10):
        examples(3)
        examples(4)
    examples(6)
    assert counted == [3, 4]
    assert not SCREEN.locked()


def test_outside_a_terminal_it_may_be_called_and_does_nothing(capsys):
    with shown("x", 3) as advance:
        advance(1)
    assert capsys.readouterr() == ("", "")
