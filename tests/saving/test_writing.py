"""Folders that one process writes at a time, and files whose faults are named."""

import errno
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import narrows as nw
from narrows.cli.main import main
from narrows.saving.writing import LOCK, FolderInUseError, read_json, read_yaml, sole_writer, whole
from narrows.tasks import Call, Local
from tests.tasks import chores

HOLDER = """
import sys, time
from pathlib import Path
from narrows.saving.writing import sole_writer
with sole_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of `tmp_path/run`."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_writer_is_told_who_the_first_is_until_that_one_dies(tmp_path, holder):
    said = rf"run is being written by process {holder.pid} on \S+ since {time.strftime('%Y')}"
    with pytest.raises(FolderInUseError, match=said), sole_writer(tmp_path / "run"):
        pass
    holder.kill()
    holder.wait()
    assert (tmp_path / "run" / LOCK).exists(), "it could not tidy up"
    with sole_writer(tmp_path / "run"), sole_writer(tmp_path / "run"):
        pass
    assert not list((tmp_path / "run").iterdir())


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch):
    def without(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", without)
    said = "run is on a file system without locks .* no other process writes there"
    with pytest.warns(UserWarning, match=said), sole_writer(tmp_path / "run"):
        assert (tmp_path / "run" / LOCK).exists()


def test_a_writer_with_patience_waits_for_the_one_before(tmp_path, holder):
    threading.Timer(0.5, holder.kill).start()
    with sole_writer(tmp_path / "run", patience=60):
        assert holder.wait() < 0


def test_train_compare_and_tasks_keep_out_of_a_folder_that_is_written(tmp_path, holder, capsys):
    out = tmp_path / "run"
    data = nw.data.load("digits", train_examples=40, test_examples=20)
    model = nw.Autoencoder.for_images(data.shape, nw.Identity(2), network=nw.networks.Mlp([4]))
    for resume in (False, True):
        with pytest.raises(FolderInUseError, match=f"process {holder.pid}"):
            nw.fit(model, data, epochs=1, out=out, resume=resume, show=False)
    assert main(["train", "ae", "--fit.epochs", "1", "--out", str(out)]) == 1
    assert f"process {holder.pid}" in capsys.readouterr().err
    assert main(["compare", "ae", "--seeds", "1", "--out", str(out)]) == 1
    assert f"process {holder.pid}" in capsys.readouterr().err
    with Local() as executor, pytest.raises(FolderInUseError):
        executor.run([Call(chores.talks)], out)
    assert [path.name for path in out.iterdir()] == [LOCK]


@pytest.mark.parametrize("left", [LOCK, ".config.partial-elsewhere-7-0.yaml"])
def test_a_run_killed_before_its_configuration_starts_anew(tmp_path, left):
    (tmp_path / left).write_text("of the dead")
    data = nw.data.load("digits", train_examples=40, test_examples=20)
    model = nw.Autoencoder.for_images(data.shape, nw.Identity(2), network=nw.networks.Mlp([4]))
    for resume in (True, False):
        out = tmp_path if resume else tmp_path / "other"
        run = nw.fit(model, data, epochs=1, out=out, resume=resume, show=False)
        assert len(run.history) == 1
    assert not (tmp_path / LOCK).exists()


@pytest.mark.parametrize("content", ["", "[1]", "{", "\x00", "[" * 20000, "3"])
@pytest.mark.parametrize("read", [read_json, read_yaml])
def test_a_damaged_file_is_named_with_the_fault_and_the_way_on(tmp_path, content, read):
    (tmp_path / "facts").write_text(content)
    with pytest.raises(ValueError, match=r"facts is damaged \(.+\): make it again"):
        read(tmp_path / "facts", "make it again")


KILLED = """
import os, sys
from pathlib import Path
from narrows.saving.writing import whole
with whole(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    scratch = partial.with_name(f"{partial.name}.folder")
    scratch.mkdir()
    (scratch / ".tmp228QnE").write_text("as safetensors does")
    os.kill(os.getpid(), 9)
"""


def test_what_a_kill_leaves_goes_with_the_next_file_and_what_others_write_stays(tmp_path):
    elsewhere = tmp_path / ".a.partial-elsewhere-7-0.txt"
    elsewhere.write_text("of another machine")
    path = tmp_path / "a.txt"
    with whole(path) as first:
        first.write_text("first")
        with whole(path) as second:
            second.write_text("second")
        assert path.read_text() == "second", "two writers of one file do not meet"
        killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
        assert killed.returncode == -9
        assert path.read_text() == "second"
        assert len(os.listdir(tmp_path)) == 5
        subprocess.run([sys.executable, "-c", WRITE, str(tmp_path / "b.txt")], check=True)
        assert {*os.listdir(tmp_path)} == {elsewhere.name, first.name, "a.txt", "b.txt"}
    assert path.read_text() == "first"


WRITE = """
import sys
from pathlib import Path
from narrows.saving.writing import write_text
write_text(Path(sys.argv[1]), "whole")
"""


STRAIGHT = {
    "saving/writing.py", "saving/table.py", "export.py",  # into the place that `whole` gives
    "training/fit.py",  # appends a line for each epoch, and is written anew when resumed
    "data/reading/files.py",  # appends to a download, which is renamed when it is verified
}  # fmt: skip


def test_nothing_else_writes_to_a_file():
    """Of the source: what opens a file to write, or a path's own methods that do."""
    package = Path(nw.__file__).parent
    words = re.compile(r'\.write_(text|bytes)\(|open\([^)\n]*"[wax]b?\+?"')
    found = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if words.search(path.read_text())
    }
    assert found - {"report/sound.py", "data/pictures.py"} == STRAIGHT  # a buffer, and devnull


def test_an_error_while_writing_names_the_file(tmp_path):
    def full(partial):
        partial.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    named = r"No space left on device: '.*table\.json'$"
    with pytest.raises(OSError, match=named), whole(tmp_path / "table.json") as partial:
        full(partial)
    assert not os.listdir(tmp_path)
