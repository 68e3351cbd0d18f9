import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from narrows.training import checkpoint
from narrows.training.checkpoint import (
    CheckpointError,
    checkpoint_path,
    load_checkpoint,
    save_checkpoint,
)
from tests.training.states import equal


def _state(step):
    generator = torch.Generator().manual_seed(step)
    return {
        "step": step,
        "model": {"weight": torch.randn(50, 40, generator=generator)},
        "half": torch.randn(5, generator=generator).bfloat16(),
        "optimiser": {"state": {0: {"step": torch.tensor(float(step))}}, "betas": (0.9, 0.999)},
        "rng": torch.get_rng_state(),
        "best": float("inf"),
    }


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path):
    state = _state(3)
    save_checkpoint(tmp_path / "run" / "checkpoints", state)
    assert equal(load_checkpoint(tmp_path / "run" / "checkpoints"), state)


def test_last_previous_and_best_are_kept_and_nothing_else(tmp_path):
    for step in range(5):
        save_checkpoint(tmp_path, _state(step))
    save_checkpoint(tmp_path, _state(0), "best")
    save_checkpoint(tmp_path, _state(1), "best")
    assert load_checkpoint(tmp_path)["step"] == 4
    assert load_checkpoint(tmp_path, "previous")["step"] == 3
    assert load_checkpoint(tmp_path, "best")["step"] == 1
    assert sorted(os.listdir(tmp_path)) == [
        "best.safetensors",
        "last.safetensors",
        "previous.safetensors",
    ]


def test_the_file_is_plain_safetensors_with_versions(tmp_path):
    path = save_checkpoint(tmp_path, _state(1))
    assert torch.equal(load_file(path)["model.weight"], _state(1)["model"]["weight"])
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["versions"])["torch"] == torch.__version__


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_a_truncated_checkpoint_is_refused_and_the_previous_offered(tmp_path, share):
    save_checkpoint(tmp_path, _state(1))
    path = save_checkpoint(tmp_path, _state(2))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=r"truncated or damaged.*'previous' is whole"):
        load_checkpoint(tmp_path)
    assert load_checkpoint(tmp_path, "previous")["step"] == 1


def test_any_changed_byte_of_the_weights_is_noticed(tmp_path):
    save_checkpoint(tmp_path, _state(1))
    path = save_checkpoint(tmp_path, _state(2))
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    for place in (start, (start + len(whole)) // 2, len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(CheckpointError, match=r"was changed.*'previous' is whole"):
            load_checkpoint(tmp_path)


def test_a_damaged_name_in_the_header_offers_the_previous_checkpoint(tmp_path):
    for step in (1, 2):
        path = save_checkpoint(tmp_path, _state(step))
    path.write_bytes(path.read_bytes().replace(b'"state":', b'"stat~":', 1))
    with pytest.raises(CheckpointError, match=r"was changed.*'previous' is whole"):
        load_checkpoint(tmp_path)


def test_an_edited_number_in_the_header_is_noticed(tmp_path):
    path = save_checkpoint(tmp_path, _state(2))
    whole = path.read_bytes()
    edited = whole.replace(b'\\"step\\": 2', b'\\"step\\": 9')
    assert edited != whole
    path.write_bytes(edited)
    with pytest.raises(CheckpointError, match=r"was changed.*no other"):
        load_checkpoint(tmp_path)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, tmp_path / "last.safetensors")
    with pytest.raises(CheckpointError, match="not a checkpoint of this version"):
        load_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match=r"best.safetensors is not there"):
        load_checkpoint(tmp_path, "best")
    with pytest.raises(CheckpointError, match="last, previous or best"):
        load_checkpoint(tmp_path, "worst")


def test_pickle_is_neither_written_nor_read(tmp_path, monkeypatch):
    import pickle

    monkeypatch.setattr(torch, "load", None)
    monkeypatch.setattr(torch, "save", None)
    monkeypatch.setattr(pickle, "loads", None)
    save_checkpoint(tmp_path, _state(1))
    load_checkpoint(tmp_path)
    torch_file = tmp_path / "last.safetensors"
    torch_file.write_bytes(b"PK\x03\x04" + b"0" * 100)
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        load_checkpoint(tmp_path)


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path):
    """A limit on the size of files is met in the middle of writing, as a full disk is."""
    script = f"""
import resource, signal, sys, torch
from pathlib import Path
from narrows.training.checkpoint import save_checkpoint
folder = Path({str(tmp_path)!r})
save_checkpoint(folder, {{"step": 1, "w": torch.zeros(1000)}})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save_checkpoint(folder, {{"step": 2, "w": torch.zeros(1_000_000)}})
except OSError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True
    )
    assert "could not be written" in done.stdout
    assert "of before is kept" in done.stdout
    assert load_checkpoint(tmp_path)["step"] == 1
    assert os.listdir(tmp_path) == ["last.safetensors"]


def test_every_step_of_writing_is_a_safe_place_to_die(tmp_path, monkeypatch):
    """Fails each call to the file system in turn: what is found afterwards is always whole."""

    class Died(BaseException):
        pass

    names = ["write_state", "_link", "sync_folder", "write_tensors"]
    originals = {name: getattr(checkpoint, name) for name in names}
    for name in names:
        for before in (True, False):
            folder = tmp_path / f"{name}-{before}"
            save_checkpoint(folder, _state(1))

            def die(*args, name=name, before=before):
                if not before:
                    originals[name](*args)
                raise Died

            monkeypatch.setattr(checkpoint, name, die)
            with pytest.raises(Died):
                save_checkpoint(folder, _state(2))
            monkeypatch.setattr(checkpoint, name, originals[name])
            assert load_checkpoint(folder)["step"] in (1, 2)
            if checkpoint_path(folder, "previous").exists():
                assert load_checkpoint(folder, "previous")["step"] == 1


def test_two_names_of_one_checkpoint_leave_no_third(tmp_path):
    """As a kill between the link and the rename leaves them: renaming one to the other is void."""
    last = save_checkpoint(tmp_path, {"step": 0})
    os.link(last, tmp_path / "previous.safetensors")
    save_checkpoint(tmp_path, {"step": 1})
    assert sorted(os.listdir(tmp_path)) == ["last.safetensors", "previous.safetensors"]
    assert load_checkpoint(tmp_path)["step"] == 1


def test_a_process_killed_while_saving_leaves_a_whole_checkpoint(tmp_path):
    script = f"""
import torch
from pathlib import Path
from narrows.training.checkpoint import save_checkpoint
step = 0
while True:
    step += 1
    save_checkpoint(Path({str(tmp_path)!r}), {{"step": step, "w": torch.full((300_000,), step)}})
    if step == 1:
        print("ready", flush=True)
"""
    seen = 0
    for wait in (0.013, 0.041):
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
        )
        process.stdout.readline()
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        state = load_checkpoint(tmp_path)
        assert bool((state["w"] == state["step"]).all())
        seen += state["step"]
    assert seen >= 2
    save_checkpoint(tmp_path, {"step": 0})
    assert sorted(os.listdir(tmp_path)) == ["last.safetensors", "previous.safetensors"]


def test_the_header_says_everything_that_is_not_a_tensor(tmp_path):
    from safetensors import safe_open

    path = save_checkpoint(tmp_path, _state(7))
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["state"])["step"] == 7
