"""train, evaluate, prior and activations under torchrun: two processes share the work of one."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from narrows.cli.main import main
from narrows.interop import language as texts
from tests.interop.test_language import WORDS, small_language

ROOT = Path(__file__).parents[2]
TRAIN = ["train", "vae", "--data", "digits", "--epochs", "2", "--model.network.hidden", "8"]
TEXT = ["--layer", "model.layers.1", "--tokens", "3000", "--context", "16", "--batch-size", "4"]
PRIORS = {
    "mixture": ("run", ["--components", "2"]),
    "transformer": ("vq", ["--epochs", "2", "--width", "8"]),
}


def environ(**more):
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **more}


def torchrun(*words, count=2):
    command = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(count), *words]
    return [sys.executable, "-m", *map(str, command)]


def together(folder, *commands, **more):
    """Runs commands by two processes; what torchrun left, and what each rank said of each."""
    program = Path(__file__).with_name("ranks_commands.py")
    done = subprocess.run(
        torchrun(program, folder, json.dumps(commands)), env=environ(**more), capture_output=True,
        text=True, timeout=600,
    )  # fmt: skip
    paths = [[folder / f"said.{n}.{rank}.json" for rank in range(2)] for n in range(len(commands))]
    return done, [[json.loads(p.read_text()) for p in pair if p.is_file()] for pair in paths]


def sentences(text):
    """What narrows itself said in all processes."""
    return [
        line for line in text.splitlines() if line.startswith("narrows:") and "note" not in line
    ]


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    """The folder of a language model and a text, of words of different length."""
    folder = small_language(tmp_path_factory.mktemp("lm"))
    (folder / "one.txt").write_text(" ".join(WORDS * 100))
    (folder / "two.txt").write_text(" ".join(WORDS[::-1] * 140))
    return folder


@pytest.fixture
def _small_shards(monkeypatch):
    """As in the program of the ranks: several shards for each."""
    smaller = functools.partial(texts.record_text, shard_rows=500)
    monkeypatch.setattr("narrows.interop.language.record_text", smaller)


def extraction(language, out):
    files = [str(language / name) for name in ("one.txt", "two.txt")]
    return ["activations", str(language), "--text", *files, *TEXT, "--out", str(out)]


@pytest.fixture(scope="module")
def two(tmp_path_factory, language):
    """A folder in which two processes evaluated, fitted priors, recorded and trained."""
    folder = tmp_path_factory.mktemp("ranks")
    run, own = str(folder / "run"), ["--batch-size", "32", "--out", str(folder / "two")]
    assert main([*TRAIN, "--out", run]) == 0
    assert main(["train", "vq", *TRAIN[2:], "--out", str(folder / "vq")]) == 0
    done, said = together(
        folder,
        ["evaluate", run, "--split", "train"],
        *(
            ["prior", str(folder / of), "--kind", kind, *words]
            for kind, (of, words) in PRIORS.items()
        ),
        extraction(language, folder / "acts"),
        [*TRAIN, *own],
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, said


def test_each_rank_does_its_share_and_the_first_one_speaks(two):
    folder, said = two
    for pair in said:
        assert [one["code"] for one in pair] == [0, 0]
        assert pair[0]["said"]
        assert not pair[1]["said"]
    splits = json.loads((folder / "run" / "metrics.json").read_text())["examples"]
    n, held_out = splits["train"], splits["validation"] + splits["test"]
    evaluated, mixture, transformer, recorded = (
        [one["examples"] for one in pair] for pair in said[:4]
    )
    assert sum(evaluated) == n
    # The training codes once, the held-out ones, and the test ones under the model's own prior;
    # validation once more for a network, which looks at it after each epoch.
    assert sum(mixture) == n + held_out + splits["test"]
    assert sum(transformer) == n + held_out + splits["validation"] + splits["test"]
    contexts = json.loads((folder / "acts" / "activations.json").read_text())["inputs"]["contexts"]
    assert sum(recorded) == contexts
    for counts in (evaluated, mixture, transformer, recorded):
        assert min(counts) > 0.3 * max(counts)


def test_the_figures_of_two_ranks_are_those_of_one(two, capsys):
    folder, said = two
    assert main(["evaluate", str(folder / "run"), "--split", "train"]) == 0
    alone, shared = json.loads(capsys.readouterr().out), json.loads(said[0][0]["said"])
    assert alone.keys() == shared.keys()
    for name, value in alone.items():
        assert shared[name] == pytest.approx(value, rel=1e-6), name


@pytest.mark.parametrize("kind", PRIORS)
def test_the_prior_of_two_ranks_is_that_of_one(two, tmp_path, kind):
    (folder, _), (of, words) = two, PRIORS[kind]
    ignored = shutil.ignore_patterns("priors", "checkpoints")
    shutil.copytree(folder / of, tmp_path / "run", ignore=ignored)
    assert main(["prior", str(tmp_path / "run"), "--kind", kind, *words]) == 0
    weights, bits = [], []
    for run in (folder / of, tmp_path / "run"):
        weights.append(load_file(run / "priors" / kind / "model.safetensors"))
        bits.append(json.loads((run / "priors" / kind / "prior.json").read_text())["test"])
    # The rate of a mixture is a mean over draws, which are others.
    assert bits[0] == pytest.approx(bits[1], rel=0.05 if kind == "mixture" else 1e-5)
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        assert float((value.double() - weights[1][name].double()).abs().max()) < 2e-3, name


@pytest.mark.usefixtures("_small_shards")
def test_two_ranks_write_the_shards_that_one_writes(two, language, tmp_path):
    folder, _ = two
    assert main(extraction(language, tmp_path / "acts")) == 0
    names = sorted(path.name for path in (tmp_path / "acts").iterdir())
    assert len(names) > 5
    assert names == sorted(path.name for path in (folder / "acts").iterdir())
    for name in names:
        assert (folder / "acts" / name).read_bytes() == (tmp_path / "acts" / name).read_bytes()


def process_of_rank(launcher, rank):
    """The id of a process that torchrun started."""
    for path in Path(f"/proc/{launcher}/task").glob("*/children"):
        for child in path.read_text().split():
            if f"\0RANK={rank}\0" in Path(f"/proc/{child}/environ").read_text():
                return int(child)
    raise AssertionError("there is no such process")


def test_a_killed_rank_ends_the_others_and_another_number_of_them_goes_on(tmp_path, capfd):
    run = tmp_path / "run"
    words = [*TRAIN[:4], "--epochs", "40", *TRAIN[6:], "--batch-size", "32", "--out", run]
    words += ["--fit.checkpoints.seconds", "0"]
    with subprocess.Popen(
        torchrun("-m", "narrows", *words), env=environ(), stderr=subprocess.PIPE, text=True
    ) as launcher:
        while not (run / "checkpoints" / "previous.safetensors").is_file():
            time.sleep(0.05)
            assert launcher.poll() is None, launcher.stderr.read()
        os.kill(process_of_rank(launcher.pid, 1), signal.SIGKILL)
        _, text = launcher.communicate(timeout=300)
    assert launcher.returncode != 0
    assert sentences(text) == [
        "narrows: rank 0: ended, as another rank has ended; the message of that one says why"
    ]
    capfd.readouterr()
    for more, said in [
        ([], "started with ranks = 2, now it is 1"),
        (["--any-ranks"], "examples in a step = 64, now it is 32; "),
        (["--batch-size", "64"], "only given with --any-ranks"),
    ]:
        assert main(["train", "--resume", str(run), *more]) in (1, 2)
        assert said in capfd.readouterr().err
    assert main(["train", "--resume", str(run), "--any-ranks", "--batch-size", "64"]) == 0
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 40


@pytest.mark.slow
@pytest.mark.usefixtures("_small_shards")
@pytest.mark.parametrize("number", range(4))
def test_a_rank_that_is_killed_ends_every_command(language, tmp_path, number):
    run = str(tmp_path / "run")
    commands = [
        [*TRAIN, "--batch-size", "32", "--out", run],
        ["evaluate", run, "--split", "train"],
        ["prior", run, "--kind", "mixture"],
        extraction(language, tmp_path / "acts"),
    ]
    if number in (1, 2):
        assert main(commands[0]) == 0
    done, _ = together(tmp_path, commands[number], KILL="0")
    assert done.returncode != 0
    found = sentences(done.stderr)
    assert len(found) == 1
    assert found[0].startswith("narrows: rank 0: ended")
    if number == 3:  # what it left is gone on with by one process
        assert main(commands[3]) == 0
        assert main(extraction(language, tmp_path / "whole")) == 0
        for path in (tmp_path / "whole").iterdir():
            assert path.read_bytes() == (tmp_path / "acts" / path.name).read_bytes()


@pytest.mark.slow
def test_torchrun_with_one_process_is_the_command_without_it(tmp_path):
    words = [*TRAIN, "--out"]
    subprocess.run(
        torchrun("-m", "narrows", *words, tmp_path / "one", count=1), check=True, env=environ()
    )
    assert main([*words, str(tmp_path / "alone")]) == 0
    one, alone = (
        json.loads((tmp_path / name / "metrics.json").read_text())["test"]
        for name in ("one", "alone")
    )
    assert one == alone


def test_devices_that_torchrun_did_not_start_are_refused(monkeypatch):
    from narrows.training import Engine

    names = {"TORCHELASTIC_RUN_ID": "1", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "4"}
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    for engine in (Engine("cpu", devices=4), Engine("cpu", devices=2), Engine("cpu", nodes=3)):
        with pytest.raises(ValueError, match="2 processes on each of 2 machines, and the engine"):
            engine.fabric()


@pytest.mark.parametrize("devices", [0, -1, "two"])
def test_a_number_of_ranks_that_is_none_is_refused(devices, capsys, tmp_path):
    words = ["--fit.engine.devices", str(devices), "--out", str(tmp_path / "run")]
    assert main([*TRAIN, *words]) in (1, 2)
    assert "devices" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_measures_by_several_ranks_are_refused(monkeypatch, capsys):
    monkeypatch.setattr("narrows.functional.ranks.ranks", lambda: 2)
    assert main(["evaluate", "nowhere", "--measures"]) == 2
    assert "run it without torchrun" in capsys.readouterr().err
