"""Every example runs as a script, is short, and is shown in the documentation."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PRINTS = {
    "own_bottleneck": "bits per image",
    "own_likelihood": "scale",
    "own_model": "of 64 codes in use",
    "own_network": "sites",
    "own_prior": "PriorFit",
    "own_sequence_model": "dB apart",
    "own_training_loop": "the weights of nw.fit: True",
    "own_vit": "variance",
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_as_a_script(path):
    path_variable = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path_variable},
    )
    assert done.returncode == 0, done.stderr
    assert PRINTS[path.stem] in done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_under_sixty_lines(path):
    assert len(path.read_text().splitlines()) < 60


def test_every_kind_of_part_has_an_example():
    assert {path.stem for path in EXAMPLES} == PRINTS.keys()
