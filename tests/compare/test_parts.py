"""A comparison in parts: by real processes, and by the scripts of the page about many machines.

`sbatch`, `srun` and `ssh` are stand-ins that start processes on this machine; the folder is shared.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from narrows.cli.main import main
from narrows.compare.parts import Part, sharing
from narrows.saving.writing import FolderInUseError
from narrows.tasks import Call, Local
from tests.tasks import chores
from tests.test_readme import ROOT, blocks

ARGUMENTS = "compare vae vq sparse-topk --data cifar10 --seeds 5 --out /shared/which"
LIGHT = "compare ae vae --data digits --seeds 2 --epochs 1 --skip-measures --steps 1 --jobs 1"
SBATCH = """#!/usr/bin/env bash
# The jobs of a script: all at once, and those that depend on others after them.
echo "$@" >> "$LOG"
for last; do :; done
for word; do case $word in --dependency=afterany:*)
    while [ -e "$JOBS/${word##*:}" ]; do sleep 0.05; done;; esac; done
array=$(sed -n 's/^#SBATCH --array=1-//p' "$last")
id=$$; touch "$JOBS/$id"
(for i in $(seq 1 "${array:-1}"); do
    SLURM_ARRAY_TASK_ID=$i SLURM_ARRAY_TASK_COUNT=$array bash "$last" > "$JOBS/out-$id-$i" 2>&1 &
done; wait; rm "$JOBS/$id") > /dev/null 2>&1 &
case "$*" in *--parsable*) echo $id;; *) echo "Submitted batch job $id"; wait;; esac
"""
SSH = """#!/usr/bin/env bash
# Another machine: its own environment, its home, and a kill in the middle if it is node2.
[ "$1" = -n ] && shift
echo "$1" >> "$LOG"
cd / && exec env -i PATH="$PATH" LOG="$LOG" LOST="$LOST" HOST="$1" ENVIRONMENT="$ENVIRONMENT" \\
    bash -c "$2"
"""
NARROWS = """#!/usr/bin/env bash
source "$ENVIRONMENT"
echo "narrows $*" >> "$LOG"
if [ -n "$LOST" ] && [ "$HOST" = node2 ]; then
    exec python "$LOST" -m narrows "$@"
fi
exec python -m narrows "$@"
"""
LOST = """
import subprocess, sys, time
from pathlib import Path
process = subprocess.Popen([sys.executable, *sys.argv[1:]])
out = Path(sys.argv[sys.argv.index("--out") + 1])
while not list(out.glob("runs/*/run/config.yaml")):
    time.sleep(0.05)
process.kill()
"""


@pytest.fixture
def machines(tmp_path, monkeypatch):
    """Programs in the place of a cluster's; gives a function that runs one of the page's blocks."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (tmp_path / "jobs").mkdir()
    texts = {"sbatch": SBATCH, "srun": '#!/bin/sh\nexec "$@"\n', "ssh": SSH, "narrows": NARROWS}
    for name, text in texts.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    environment = tmp_path / "environment"
    kept = ("PYTHONPATH", "NARROWS_DATA", "HOME")
    lines = [f"export {name}={os.environ[name]!r}\n" for name in kept if name in os.environ]
    path = f"export OMP_NUM_THREADS=1 PATH={Path(sys.executable).parent}:$PATH\n"
    path += f"export PYTHONPATH={ROOT / 'src'}:{ROOT}:$PYTHONPATH\n"
    environment.write_text("".join([*lines, path]))
    for name, value in {
        "PATH": f"{programs}:{os.environ['PATH']}", "LOG": tmp_path / "log", "LOST": "",
        "JOBS": tmp_path / "jobs", "ENVIRONMENT": environment,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, str(value))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def scripts(light):
    """The scripts of the page in their order, with other runs."""
    found = [text.replace(ARGUMENTS, light) for text in blocks(ROOT / "docs/many-runs.md", "bash")]
    assert [light in text for text in found] == [True, True, False, True]
    return found


def table(folder):
    """Figures of every recipe: weights do not depend on who trained them."""
    found = json.loads((folder / "metrics.json").read_text())["intervals_95"]
    return {label: row["nmse"] for label, row in found.items()}


def by_slurm(folder, light):
    parts, page, both, _ = scripts(light)
    (folder / "parts.sh").write_text(parts)
    (folder / "page.sh").write_text(page)
    subprocess.run(["bash", "-c", both], check=True, timeout=900)


def test_the_scripts_for_slurm_ask_for_each_part_once_and_then_for_the_page(machines):
    (machines / "programs" / "narrows").write_text('#!/bin/sh\necho "narrows $*" >> "$LOG"\n')
    by_slurm(machines, "compare x")
    log = (machines / "log").read_text().splitlines()
    assert log[0] == "--parsable parts.sh"
    assert "--dependency=afterany:" in " ".join(log)
    asked = [line for line in log if line.startswith("narrows")]
    assert sorted(asked[:-1]) == [f"narrows compare x --part {i}/4" for i in range(1, 5)]
    assert asked[-1] == "narrows compare x"


@pytest.mark.slow
def test_an_array_of_slurm_ends_with_the_table_of_one_machine(machines):
    by_slurm(machines, f"{LIGHT} --out {machines / 'which'}")
    assert (machines / "which" / "report.html").is_file()
    assert main([*LIGHT.split(), "--out", str(machines / "here")]) == 0
    assert table(machines / "which") == table(machines / "here")
    begun = [len(list(p.glob("*/run"))) for p in (machines / "which/runs", machines / "here/runs")]
    assert begun == [4, 4], "every run was made once"


@pytest.mark.slow
def test_a_list_of_hosts_ends_with_the_table_of_one_machine_though_one_is_lost(
    machines, monkeypatch
):
    (machines / "lost.py").write_text(LOST)
    monkeypatch.setenv("LOST", str(machines / "lost.py"))
    script = scripts(f"{LIGHT} --out {machines / 'which'}")[-1]
    subprocess.run(["bash", "-c", script], check=True, timeout=900)
    log = (machines / "log").read_text().splitlines()
    assert sorted(line for line in log if line.startswith("node")) == ["node1", "node2", "node3"]
    assert "2 of 2 finished" in (machines / "part-1.txt").read_text()
    assert "finished" not in (machines / "part-2.txt").read_text()
    monkeypatch.setenv("LOST", "")
    assert main([*LIGHT.split(), "--out", str(machines / "here")]) == 0
    assert table(machines / "which") == table(machines / "here")


def test_parts_have_every_element_once():
    for count in (1, 2, 3, 7, 20):
        parts = [Part(number, count).of(range(13)) for number in range(1, count + 1)]
        assert sorted(item for part in parts for item in part) == list(range(13))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(("number", "count"), [(3, 2), (0, 2), (-1, 2), (1, 0)])
def test_a_part_that_there_is_not_is_refused(number, count):
    with pytest.raises(ValueError, match=f"I from 1 to N, got {number}/{count}"):
        Part(number, count)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--part", "3/2", "--out", "x"], "I from 1 to N, such as 2/8; got '3/2'"),
        (["--part", "0/2", "--out", "x"], "number the tasks of a SLURM array from 1"),
        (["--part", "half", "--out", "x"], "got 'half'"),
        (["--part", "/", "--out", "x"], "got '/'"),
        (["--part", "1/2"], "--part needs --out"),
        (["--part", "1/2", "--out", "x", "--ray", "auto"], "give one of them"),
    ],
)
def test_a_wrong_part_is_one_sentence_before_anything_runs(
    tmp_path, monkeypatch, capsys, words, said
):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "ae", *words]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


PROGRAM = """
import sys
from pathlib import Path
from narrows.compare.parts import Part, sharing
from narrows.tasks import Call, Local
from tests.tasks import chores
number, out = int(sys.argv[1]), Path(sys.argv[2])
part = Part(number, 2) if number else None
tasks = [Call(getattr(chores, sys.argv[3]), {"seed": seed}) for seed in range(6)]
with sharing(out, part), Local() as executor:
    executor.run(part.of(tasks) if part else tasks, out / "runs", shared=part is not None)
"""


def start(out, number, chore="slow"):
    """A process that makes one of two parts of six tasks, or with number 0 all of them."""
    command = [sys.executable, "-c", PROGRAM, str(number), str(out), chore]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})


def seeds(out, pattern):
    return [path.name.split("-")[1] for path in sorted(out.glob(pattern))]


def test_two_parts_work_side_by_side_and_what_a_killed_one_was_making_is_made_anew(tmp_path):
    first, second = start(tmp_path, 1), start(tmp_path, 2)
    while len([s for s in seeds(tmp_path, "runs/begun-*") if int(s) % 2]) < 2:
        time.sleep(0.02)
        assert second.poll() is None
    second.send_signal(signal.SIGKILL)
    second.wait()
    assert first.wait() == 0
    begun = seeds(tmp_path, "runs/begun-*")
    assert sorted(s for s in begun if int(s) % 2 == 0) == ["0", "2", "4"], "the other lost nothing"
    done = len(list(tmp_path.glob("runs/slow-*/result.json")))
    assert 4 <= done < 6
    assert start(tmp_path, 2).wait() == 0
    assert len(list(tmp_path.glob("runs/slow-*/result.json"))) == 6
    assert len(seeds(tmp_path, "runs/begun-*")) == len(begun) + 6 - done


def test_the_same_part_twice_and_the_whole_beside_a_part_are_refused(tmp_path):
    process = start(tmp_path, 1, "sleeps")
    while not list(tmp_path.glob("runs/process-*")):
        time.sleep(0.02)
        assert process.poll() is None
    for other in (Part(1, 2), None):
        with (
            pytest.raises(FolderInUseError, match=f"process {process.pid}"),
            sharing(tmp_path, other),
        ):
            pass
    with sharing(tmp_path, Part(2, 2)):
        pass
    process.kill()
    process.wait()
    with sharing(tmp_path, None), sharing(tmp_path, None):
        pass


def test_a_part_beside_the_whole_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("narrows.compare.parts._PATIENCE", 0.2)
    with start(tmp_path, 0, "sleeps") as process:
        while not list(tmp_path.glob("runs/process-*")):
            time.sleep(0.02)
        said = f"process {process.pid}"
        with pytest.raises(FolderInUseError, match=said), sharing(tmp_path, Part(1, 2)):
            pass
        process.kill()


def test_a_task_that_another_process_makes_is_one_failure_that_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr("narrows.tasks.task.PATIENCE", 0.2)
    process = start(tmp_path, 1, "sleeps")
    while not list(tmp_path.glob("runs/process-*")):
        time.sleep(0.02)
    tasks = [Call(chores.sleeps, {"seed": 0}), Call(chores.number, {"value": 1.0})]
    with Local() as executor:
        held, other = executor.run(tasks, tmp_path / "runs", shared=True)
    process.kill()
    process.wait()
    assert f"is being written by process {process.pid}" in held.error
    assert other.error is None
