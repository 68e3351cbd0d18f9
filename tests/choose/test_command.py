"""`narrows choose` as a user runs it: real processes, Ctrl-C, a cluster."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
QUICK = [
    "--data", "digits", "--data-options.train_examples", "200", "--data-options.test_examples",
    "50", "--recipes", "vae,rounded,vq", "--bits", "0.5", "--set", "fit.batch_size=100",
]  # fmt: skip


def command(*more: str) -> list[str]:
    return [sys.executable, "-m", "narrows", "choose", *QUICK, *more]


def answer(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def test_ctrl_c_gives_the_best_answer_so_far_and_the_same_command_goes_on(tmp_path):
    words = command("--minutes", "3", "--jobs", "2", "--out", str(tmp_path / "out"))
    # In a group of its own, as a terminal's: the signal reaches its workers, too.
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "run 4:" in line:
            break
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "It was stopped before it had ended; the same command goes on." in said
    assert (tmp_path / "out" / "report.html").is_file()
    finished = {path.parent.name for path in (tmp_path / "out" / "runs").glob("*/result.json")}
    assert len(finished) >= 4
    again = subprocess.run(words, capture_output=True, text=True, timeout=500)
    assert again.returncode == 0, again.stderr
    now = {path.parent.name for path in (tmp_path / "out" / "runs").glob("*/result.json")}
    assert finished < now
    assert "At 0.5 bits per dimension use" in again.stdout


def test_a_cluster_runs_the_race(tmp_path):
    pytest.importorskip("ray", reason="needs narrows[ray]")
    done = subprocess.run(
        command("--minutes", "1", "--ray", "local", "--out", str(tmp_path)),
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (race,) = answer(tmp_path)["races"]
    assert race["ranking"]
    assert "use" in answer(tmp_path)["answers"][0]
