"""Two processes that share every batch end where one process with the whole batch ends.

Both train through `fit`, the two on the engine's ddp strategy over gloo, in float64 so that
AdamW, which divides small gradients by their size, does not blow up the rounding of sums. What is
compared: every weight and every buffer (codebooks, counts, scales, levels, marginals, running
sigma) after eight steps of initialisation, updates and revival; the weight average; beta under
Geco; the last epoch's figures over all ranks' examples, and the test figures. Random numbers are
cut from one stream for the whole batch: see `ranks_program`.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

PROGRAM = Path(__file__).with_name("ranks_program.py")
spec = importlib.util.spec_from_file_location("ranks_program", PROGRAM)
assert spec is not None
program = importlib.util.module_from_spec(spec)
spec.loader.exec_module(program)


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    environ = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    command = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(PROGRAM)]
    done = subprocess.run(
        [sys.executable, "-m", *command, str(folder)],
        env=environ, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.mark.parametrize("name", program.NAMES)
def test_two_processes_equal_one_with_the_whole_batch(two_ranks, name):
    first, second = (load_file(two_ranks / f"{name}.{rank}.safetensors") for rank in range(2))
    assert first.keys() == second.keys()
    own = [key for key in first if not torch.equal(first[key], second[key])]
    assert not own, f"the ranks differ in {own}"
    alone = program.train(name)
    assert alone.keys() == first.keys()
    for key, value in alone.items():
        error = (value.double() - first[key].double()).abs().max() if value.numel() else 0
        scale = max(1.0, float(value.double().abs().max())) if value.numel() else 1.0
        assert float(error) <= 1e-5 * scale, (key, float(error))
    random = not name.startswith(("plain", "vq", "fsq", "lfq", "simvq", "sparse", "softmax"))
    random &= name not in ("split of quantisers", "residual gradient")
    assert (int(alone["calls"]) > 0) == random


def test_data_mapped_from_a_file_train_as_data_in_memory_do(two_ranks):
    states = [
        load_file(two_ranks / f"{name}.0.safetensors") for name in ("mapped from a file", "normal")
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_two_processes_that_crashed_go_on_to_the_same_weights(two_ranks):
    """Bit for bit, as one process does; the figures of the broken epoch are the first rank's."""
    for rank in range(2):
        whole = load_file(two_ranks / f"vq ema.{rank}.safetensors")
        resumed = load_file(two_ranks / f"resumed.{rank}.safetensors")
        kept = [k for k in whole if not k.startswith("figure ") or k.startswith("figure test")]
        assert len(kept) > 20
        assert [k for k in kept if not torch.equal(whole[k], resumed[k])] == []
    assert len((two_ranks / "run" / "metrics.jsonl").read_text().splitlines()) == program.EPOCHS
