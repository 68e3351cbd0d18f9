"""Two processes that share every batch end where one process with the whole batch ends.

All train through `fit`, the two over gloo on the engine's strategies: ddp, where each has the model
whole, and fsdp, where each has half of encoder and decoder. They do so in float64, so that AdamW,
which divides small gradients by their size, does not blow up the rounding of sums. What is
compared: every weight and every buffer (codebooks, counts, scales, levels, marginals, running
sigma) after eight steps of initialisation, updates and revival; the weight average; beta under
Geco; the last epoch's figures over all ranks' examples, and the test figures. Random numbers are
cut from one stream for the whole batch: see `ranks_program`.
"""

import functools
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

import narrows as nw
from narrows.training.checkpoint import load_checkpoint
from tests.training import ranks_program as program


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    program.crash(folder / program.ONE_THEN_TWO)
    environ = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    command = [
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "--module",
        program.__name__,
    ]
    done = subprocess.run(
        [sys.executable, "-m", *command, str(folder)],
        env=environ, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@functools.cache
def alone(name):
    return program.train(name)[0]


def load(folder, run, rank=0):
    return load_file(folder / f"{run}.{rank}.safetensors")


def difference(one, two):
    """The largest, relative to what is compared where that is large, and where it is."""
    found = []
    for key, value in one.items():
        if value.numel():
            scale = max(1.0, float(value.double().abs().max()))
            found.append((float((value.double() - two[key].double()).abs().max()) / scale, key))
    return max(found)


@pytest.mark.parametrize(
    ("strategy", "name"), [(key, name) for key, names in program.NAMES.items() for name in names]
)
def test_two_processes_equal_one_with_the_whole_batch(two_ranks, strategy, name):
    first, second = (load(two_ranks, f"{name}.{strategy}", rank) for rank in range(2))
    assert first.keys() == second.keys()
    shares = [float(state.pop("share")) for state in (first, second)]
    if strategy == "ddp":
        assert shares == [1.0, 1.0]
    else:  # the last layer's one channel, and its bias, cannot be halved
        assert sum(shares) == pytest.approx(1)
        assert max(shares) < 0.6
    own = [key for key in first if not torch.equal(first[key], second[key])]
    assert not own, f"the ranks differ in {own}"
    one = alone(name)
    assert one.keys() == first.keys()
    found = difference(one, first)
    assert found[0] <= 1e-5, found
    assert (int(one["calls"]) > 0) == program.is_random(name)


def test_networks_in_shards_with_batch_norm_equal_whole_ones(two_ranks):
    """One process with the whole batch does not: each rank normalises its own share."""
    for strategy in program.NAMES:
        states = [load(two_ranks, f"batch norm.{strategy}", rank) for rank in range(2)]
        assert [
            k for k in states[0] if k != "share" and not torch.equal(*(s[k] for s in states))
        ] == []
    whole, cut = (load(two_ranks, f"batch norm.{strategy}") for strategy in program.NAMES)
    assert any("running_mean" in key for key in whole)
    assert whole.pop("share") > cut.pop("share")
    assert difference(whole, cut)[0] <= 1e-5


def test_data_mapped_from_a_file_train_as_data_in_memory_do(two_ranks):
    states = [load(two_ranks, f"{name}.ddp") for name in ("mapped from a file", "normal")]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("then", program.NAMES)
@pytest.mark.parametrize("first", program.NAMES)
def test_two_processes_that_crashed_go_on_to_the_same_weights(two_ranks, first, then):
    """Bit for bit, as one process does; the figures of the broken epoch are the first rank's.

    A checkpoint says nothing of shards, so that a run may go on under the other strategy; then
    sums are added up in another order.
    """
    for rank in range(2):
        whole = load(two_ranks, f"vq ema.{then}", rank)
        resumed = load(two_ranks, f"{first} then {then}", rank)
        kept = [k for k in resumed if not k.startswith("figure ") or k.startswith("figure test")]
        assert len(kept) > 20
        if first == then:
            assert [k for k in kept if not torch.equal(whole[k], resumed[k])] == []
        else:
            found = difference({k: resumed[k] for k in kept}, whole)
            assert found[0] <= 1e-5, found
    history = two_ranks / f"{first} then {then}" / "metrics.jsonl"
    assert len(history.read_text().splitlines()) == program.EPOCHS


@pytest.mark.parametrize("name", [program.ONE_THEN_TWO, program.TWO_THEN_ONE])
def test_a_run_goes_on_with_another_number_of_ranks_to_the_same_weights(two_ranks, name):
    """Up to rounding, and as far as nothing is drawn: every rank draws its own numbers."""
    if name == program.TWO_THEN_ONE:
        with pytest.raises(ValueError, match=r"ranks = 2, now it is 1; .*any_ranks"):
            program.train("vq ema", out=two_ranks / name, resume=True)
        resumed = program.train("vq ema", out=two_ranks / name, resume=True, any_ranks=True)[0]
    else:
        resumed = load(two_ranks, name)
    whole = alone("vq ema")
    kept = {k: v for k, v in whole.items() if not k.startswith("figure ") or "figure test" in k}
    found = difference(kept, resumed)
    assert found[0] <= 1e-5, found


def test_one_process_reads_what_was_trained_in_shards(two_ranks):
    folder = two_ranks / "fsdp then fsdp"
    model = nw.Autoencoder.load(folder)
    trained = load(two_ranks, "fsdp then fsdp")
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value.double(), trained[name].double(), rtol=1e-6, atol=1e-6)
    best = load_checkpoint(folder / "checkpoints", "best")["model"]
    model.load_state_dict(best)
    assert bool(model.reconstruct(torch.rand(2, 1, 8, 8)).isfinite().all())
