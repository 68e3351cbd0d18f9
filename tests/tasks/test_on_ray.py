"""Runs on a Ray of this machine, where Ray is installed."""

import importlib.util
import json
import subprocess
import sys

import pytest

from narrows.cli.main import main
from narrows.tasks import OnRay

installed = importlib.util.find_spec("ray") is not None


def test_without_ray_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RuntimeError, match=r"pip install 'narrows\[ray\]'"):
        OnRay()


@pytest.mark.slow
@pytest.mark.skipif(not installed, reason="needs ray")
def test_a_comparison_on_ray_is_that_of_processes(tmp_path):
    # A process of its own: Ray leaves threads and handlers behind.
    command = [
        sys.executable, "-m", "narrows", "compare", "ae", "vae", "--seeds", "1", "--set",
        "fit.epochs=1", "--skip-measures", "--steps", "1", "--ray", "local", "--out",
    ]  # fmt: skip
    subprocess.run([*command, str(tmp_path / "ray")], check=True, timeout=600)
    words = ["compare", "ae", "vae", "--seeds", "1", "--set", "fit.epochs=1", "--skip-measures"]
    assert main([*words, "--steps", "1", "--jobs", "2", "--out", str(tmp_path / "here")]) == 0
    one, two = (
        json.loads((tmp_path / name / "metrics.json").read_text())["intervals_95"]
        for name in ("ray", "here")
    )
    for label in ("ae", "vae"):
        # One thread there, one here: the same weights to the last bit.
        assert one[label]["nmse"][0] == two[label]["nmse"][0]
