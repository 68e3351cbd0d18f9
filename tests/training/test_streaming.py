"""Data that stay on the disk train as data in memory do, through kills, ranks and workers."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import narrows as nw
from narrows.data.batching import batches
from narrows.training import Engine
from tests.training import streaming_program as program
from tests.training.states import equal

N, D = 210, 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three shards of vectors; the first number of each is its row."""
    made = tmp_path_factory.mktemp("shards")
    values = np.random.default_rng(0).normal(size=(N, D)).astype(np.float16)
    values[:, 0] = np.arange(N)
    for number, part in enumerate(np.split(values, [40, 130])):
        np.save(made / f"{number}.npy", part)
    return made


def ran(folder, out, what, *, ranks=1, workers=0):
    out.mkdir(exist_ok=True)
    given = [str(folder), str(out), what, str(workers)]
    distributed = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    path = os.pathsep.join(filter(None, sys.path))
    environ = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, *(distributed if ranks > 1 else []), program.__file__, *given],
        env=environ, capture_output=True, text=True, timeout=600,
    )  # fmt: skip


def ends(out):
    """The weights of the whole run and of the one that was killed, and their figures."""
    files = [out / name / "model.safetensors" for name in ("whole", "killed")]
    rows = [
        [json.loads(line) for line in (out / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "killed")
    ]
    for row in [*rows[0], *rows[1]]:
        del row["examples_per_second"]
    return [load_file(file) for file in files], rows


def seen(out, ranks):
    """`[ranks][steps][rows]`, of the whole run."""
    return [json.loads((out / f"seen.{rank}.json").read_text()) for rank in range(ranks)]


def test_a_run_on_shards_that_was_killed_within_an_epoch_ends_as_the_whole_one(folder, tmp_path):
    killed = ran(folder, tmp_path, "killed")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "killed" / "metrics.json").exists()
    resumed = ran(folder, tmp_path, "resumed", workers=2)  # as many as before or not: no matter
    assert resumed.returncode == 0, resumed.stderr
    states, rows = ends(tmp_path)
    assert equal(*states)
    assert rows[0] == rows[1]
    data = nw.data.load(f"shards:{folder}", buffer=64)
    given = data.train.rows.tolist()
    expected = [
        sorted(given[row] for row in index.tolist())
        for epoch in range(program.EPOCHS)
        for index in batches(len(data.train), program.BATCH, epoch=epoch, buffer=64)
    ]
    assert [sorted(step) for step in seen(tmp_path, 1)[0]] == expected  # read file by file


def test_two_ranks_read_rows_of_their_own_and_go_on_after_a_kill(folder, tmp_path):
    killed = ran(folder, tmp_path, "killed", ranks=2)
    assert killed.returncode != 0
    assert "SIGKILL" in killed.stderr or "exitcode  : -9" in killed.stderr, killed.stderr[-2000:]
    assert not (tmp_path / "killed" / "metrics.json").exists()
    resumed = ran(folder, tmp_path, "resumed", ranks=2)
    assert resumed.returncode == 0, resumed.stderr[-4000:]
    assert equal(*ends(tmp_path)[0])
    first, second = seen(tmp_path, 2)
    steps = len(first) // program.EPOCHS
    for epoch in range(program.EPOCHS):
        part = slice(epoch * steps, (epoch + 1) * steps)
        own = [[row for step in rank[part] for row in step] for rank in (first, second)]
        assert len(own[0]) == len(own[1]) == steps * program.BATCH // 2
        assert len({*own[0], *own[1]}) == steps * program.BATCH  # each row once, by one rank


@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_trains_alike(folder, workers):
    def trained(data, workers):
        torch.manual_seed(0)
        model = nw.Autoencoder.for_vectors(D, nw.VectorQuantizer(8, 4))
        return nw.fit(
            model, data, epochs=2, batch_size=16, engine=Engine("cpu", workers=workers), show=False
        )

    data = nw.data.load(f"shards:{folder}")
    one, other = trained(data, 0), trained(data, workers)
    assert equal(one.model.state_dict(), other.model.state_dict())
    assert one.test == other.test


def test_a_number_of_workers_below_none_is_refused():
    with pytest.raises(ValueError, match="workers must be at least 0, got -1"):
        Engine(workers=-1)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_shard_that_changes_between_epochs_ends_the_run(folder, tmp_path, workers):
    for path in folder.glob("*.npy"):
        (tmp_path / path.name).write_bytes(path.read_bytes())

    class Change(nw.training.Callback):
        def after_epoch(self, model, row):
            path = tmp_path / "1.npy"
            path.write_bytes(path.read_bytes()[:-D])  # shorter: mapped pages would end the process
            return False

    data = nw.data.load(f"shards:{tmp_path}")
    model = nw.Autoencoder.for_vectors(D, nw.Identity(2))
    with pytest.raises(ValueError, match=r"1\.npy has changed since it was opened \([\d,]+ bytes"):
        nw.fit(
            model, data, epochs=3, batch_size=16, engine=Engine("cpu", workers=workers), show=False,
            callbacks=[Change()],
        )  # fmt: skip
