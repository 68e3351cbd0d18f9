"""Tasks: kept, resumable, within a budget, failing one by one, and gone with whoever asked."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import narrows
from narrows.tasks import Call, Local, execute, keep, kept
from tests.tasks import chores


def numbers(*seeds, value=1.0):
    return [Call(chores.number, {"value": value, "seed": seed}) for seed in seeds]


def test_finished_tasks_are_kept_and_only_what_is_missing_is_run(tmp_path):
    ran = []
    with Local() as executor:
        for seeds in ((0, 1), (0, 1), (0, 1, 2, 3)):
            outcomes = executor.run(numbers(*seeds), tmp_path, report=ran.append)
            assert [outcome.result["value"] for outcome in outcomes] == [
                pytest.approx(2 + 0.01 * seed) for seed in seeds
            ]
    assert [o.task.arguments["seed"] for o in ran if not o.reused] == [0, 1, 2, 3]
    assert [o.task.arguments["seed"] for o in ran if o.reused] == [0, 1, 0, 1]


def test_figures_and_arrays_come_back_as_they_were_and_say_what_made_them(tmp_path):
    (task,) = numbers(3)
    made = execute(task, tmp_path)
    assert kept(task, tmp_path) is None, "nothing is kept that nobody asked to keep"
    keep(made)
    again = kept(task, tmp_path)
    assert again.figures == made.figures == {"value": 2.03}
    np.testing.assert_array_equal(again.result["picture"], made.result["picture"])
    assert again.cost == made.cost
    record = json.loads((again.folder / "result.json").read_text())
    assert record["configuration"] == {"value": 1.0, "seed": 3}
    assert record["source"] == task.source
    assert not list(tmp_path.rglob("*.partial*"))


def test_what_was_kept_and_is_damaged_is_made_anew(tmp_path, caplog):
    (task,) = numbers(3)
    with Local() as executor:
        (first,) = executor.run([task], tmp_path)
        for name in ("result.json", "arrays.npz"):
            path = first.folder / name
            whole = path.read_bytes()
            flipped = whole[:40] + bytes([whole[40] ^ 4]) + whole[41:]
            for damage in (b"", whole[: len(whole) // 2], flipped, b"[]", b"{}", b"\xff\x00"):
                path.write_bytes(damage)
                caplog.clear()
                (again,) = executor.run([task], tmp_path)
                assert not again.reused
                assert str(path) in caplog.text
                assert again.figures == first.figures
        (first.folder / "arrays.npz").unlink()
        assert not executor.run([task], tmp_path)[0].reused
        assert executor.run([task], tmp_path)[0].reused


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failed_task_stops_no_other_and_is_tried_again(tmp_path, workers):
    tasks = [Call(chores.fails), *numbers(0), Call(chores.fails, {"seed": 1})]
    with Local(workers) as executor:
        outcomes = executor.run(tasks, tmp_path)
    assert [outcome.error for outcome in outcomes] == [
        "ValueError: it had to be", None, "ValueError: it had to be",
    ]  # fmt: skip
    assert kept(tasks[0], tmp_path) is None
    assert kept(tasks[1], tmp_path).figures == outcomes[1].figures


def test_a_process_that_dies_is_one_failed_task(tmp_path):
    with Local(2) as executor:
        dead, alive = executor.run([Call(chores.dies), *numbers(0)], tmp_path)
        assert dead.error == "the process ended with exit code -9: what it said last"
        assert alive.error is None
        assert executor.run(numbers(1), tmp_path)[0].error is None


def test_workers_serve_one_task_after_the_other_and_what_they_print_is_in_nobodys_way(tmp_path):
    tasks = [Call(chores.talks), *numbers(0, 1, 2)]
    with Local(2, threads=3) as executor:
        first, *others = executor.run(tasks, tmp_path)
        assert len(executor._all) <= 2
    assert first.figures["threads"] == 3
    assert all(outcome.error is None for outcome in others)


def test_a_fresh_process_for_each_task_has_its_own_cost(tmp_path):
    tasks = [
        Call(chores.works, {"megabytes": 200, "seconds": 0.5}), Call(chores.works, {"seconds": 0.1})
    ]  # fmt: skip
    with Local(fresh=True) as executor:
        large, small = (outcome.cost for outcome in executor.run(tasks, tmp_path))
    assert large.peak_memory > small.peak_memory + 150
    assert large.processor_seconds > 0.5
    assert large.seconds > large.processor_seconds * 0.5 + 0.5
    assert kept(tasks[0], tmp_path).cost == large


def test_one_worker_is_this_process_with_the_threads_asked_for(tmp_path):
    import os

    import torch

    before = torch.get_num_threads()
    with Local(threads=1) as executor:
        (outcome,) = executor.run([Call(chores.talks)], tmp_path)
    assert outcome.figures["process"] == os.getpid()
    assert torch.get_num_threads() == before


def test_nothing_new_begins_once_the_time_is_over(tmp_path):
    left = iter([True, True, False, False])
    with Local() as executor:
        executor.run(numbers(3), tmp_path)
        outcomes = executor.run(numbers(0, 1, 2, 3, 4), tmp_path, go_on=lambda: next(left))
    # What is kept asks for no time.
    assert [outcome.task.arguments["seed"] for outcome in outcomes] == [0, 1, 3]


def test_after_an_interruption_nothing_new_begins(tmp_path):
    def interrupt(outcome):
        raise KeyboardInterrupt

    tasks = [Call(chores.slow, {"seed": seed}) for seed in range(12)]
    with Local(2) as executor, pytest.raises(KeyboardInterrupt):
        executor.run(tasks, tmp_path, report=interrupt)
    assert len(list(tmp_path.glob("begun-*"))) < 6
    assert threading.active_count() < 12


def test_a_function_that_no_other_process_can_import_is_refused(tmp_path):
    def local(folder):
        return {}

    local.__module__ = "__main__"
    with pytest.raises(TypeError, match="into a file of its own"):
        _ = Call(local).key


def test_less_than_one_worker_is_refused():
    with pytest.raises(ValueError, match="at least one worker, got 0"):
        Local(0)


SCRIPT = """
import sys; sys.path[:0] = {paths!r}
from pathlib import Path
from narrows.tasks import Call, Local
from tests.tasks import chores
with Local({arguments}) as executor:
    executor.run([Call(chores.{name}, {{"seed": s}}) for s in range(6)], Path({root!r}))
"""


def script(tmp_path, name, arguments):
    """A program that runs six tasks; it needs no guard against being imported again."""
    path = tmp_path / "script.py"
    paths = [str(Path(__file__).parents[2]), str(Path(narrows.__file__).parents[1])]
    root = str(tmp_path / "root")
    path.write_text(SCRIPT.format(paths=paths, name=name, arguments=arguments, root=root))
    return [sys.executable, str(path)]


def wait_for(count, root, pattern, process):
    while len(list(root.glob(pattern))) < count:
        time.sleep(0.02)
        assert process.poll() is None


def workers_of(root):
    """Processes whose command line names the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += [path] if str(root).encode() in path.read_bytes() else []
    return found


@pytest.mark.parametrize("arguments", ["1", "2", "2, fresh=True"])
def test_after_a_kill_only_what_was_in_flight_is_run_again(tmp_path, arguments):
    root, command = tmp_path / "root", script(tmp_path, "slow", arguments)
    process = subprocess.Popen(command)
    wait_for(2, root, "slow-*/result.json", process)
    process.kill()  # by SIGKILL: it cannot say goodbye
    process.wait()
    while workers_of(root):
        time.sleep(0.02)
    done, begun = (len(list(root.glob(p))) for p in ("slow-*/result.json", "begun-*"))
    assert 2 <= done < 6
    subprocess.run(command, check=True)
    assert len(list(root.glob("slow-*/result.json"))) == 6
    assert len(list(root.glob("begun-*"))) == begun + 6 - done


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")
@pytest.mark.parametrize("arguments", ["2", "2, fresh=True"])
def test_tasks_end_with_whoever_started_them(tmp_path, arguments):
    root = tmp_path / "root"
    process = subprocess.Popen(script(tmp_path, "sleeps", arguments))
    wait_for(2, root, "process-*", process)
    started = [int(path.name.partition("-")[2]) for path in root.glob("process-*")]
    assert all(map(alive, started))
    process.kill()
    process.wait()
    limit = time.monotonic() + 60
    while any(map(alive, started)) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not any(map(alive, started))
