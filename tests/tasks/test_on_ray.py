"""Runs on a Ray of two nodes, one of which is killed, and on one of this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from narrows.cli.main import main
from narrows.tasks import OnRay, on_ray

ROOT = Path(__file__).parents[2]
LIGHT = ["ae", "vae", "--seeds", "1", "--set", "fit.epochs=1", "--skip-measures", "--steps", "1"]


def on_a_cluster(*words, cwd):
    """What a process says that starts a cluster: Ray leaves threads and handlers behind."""
    pytest.importorskip("ray")
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(Path(__file__).with_name("ray_program.py")), *map(str, words)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, cwd=cwd, stdout=subprocess.PIPE, text=True,
        timeout=900,
    )  # fmt: skip
    assert done.returncode == 0
    return json.loads(done.stdout.splitlines()[-1])


def test_without_ray_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RuntimeError, match=r"pip install 'narrows\[ray\]'"):
        OnRay()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nobody.invalid:6379"])
@pytest.mark.parametrize("command", ["compare", "choose"])
def test_an_address_that_nobody_answers_is_one_sentence(tmp_path, capsys, address, command):
    pytest.importorskip("ray")
    words = LIGHT if command == "compare" else ["--recipes", "ae", "--minutes", "1"]
    assert main([command, *words, "--ray", address, "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert f"no Ray cluster answers at {address!r}" in said
    assert "ray start --head" in said
    assert not list(tmp_path.rglob("*seed*"))


@pytest.mark.parametrize("address", ["127.0.0.1:port", "127.0.0.1:99999"])
def test_an_address_that_is_none_is_one_sentence(address):
    pytest.importorskip("ray")
    with pytest.raises(ConnectionError, match="no Ray cluster answers"), OnRay(address):
        pass


def test_a_killed_node_loses_only_its_tasks_and_they_are_made_elsewhere(tmp_path):
    (tmp_path / "beside.txt").write_text("named by its path from here")
    said = on_a_cluster("tasks", tmp_path / "out", cwd=tmp_path)
    assert said["errors"] == [None] * 6
    assert said["values"] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert said["at once"] == 2
    begun, lost = said["begun"], said["lost"]
    assert len(lost) == 1, "the node had one core"
    assert begun == {str(seed): 1 + (seed in lost) for seed in range(6)}


def test_a_task_that_cannot_enter_the_folder_of_the_command_says_so(tmp_path):
    with pytest.raises(RuntimeError, match=r"gone cannot be entered on .* that all share"):
        on_ray._elsewhere(None, tmp_path, (), str(tmp_path / "gone"))


@pytest.mark.slow
@pytest.mark.parametrize("command", ["compare", "choose"])
def test_a_comparison_whose_node_is_killed_ends_as_one_of_processes(tmp_path, command):
    recipe = (ROOT / "src/narrows/recipes/ae.yaml").read_text()
    (tmp_path / "own.yaml").write_text(recipe)
    words = {
        "compare": ["own.yaml", "vae", *LIGHT[2:]],
        "choose": ["--recipes", "own.yaml,vae", "--minutes", "6", "--set", "fit.epochs=1"],
    }[command]
    said = on_a_cluster(command, *words, "--out", "ray", cwd=tmp_path)
    assert said["code"] == 0
    assert len(said["lost"]) == 1
    made = {path.parent.name for path in tmp_path.glob("ray/runs/*/result.json")}
    assert said["lost"][0] in made, "it was made again"
    if command == "choose":
        assert "own" in (tmp_path / "ray" / "report.md").read_text()
        return
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    here = [sys.executable, "-m", "narrows", "compare", *words, "--jobs", "2", "--out", "here"]
    subprocess.run(here, check=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path})
    one, two = (
        json.loads((tmp_path / name / "metrics.json").read_text())["intervals_95"]
        for name in ("ray", "here")
    )
    assert one.keys() == two.keys() == {"own", "vae"}
    for label in one:
        # One thread there, one here: the same weights to the last bit.
        assert one[label]["nmse"][0] == two[label]["nmse"][0]
