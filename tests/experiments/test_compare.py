"""A comparison: what it runs, what it keeps, what it says of failures."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from narrows.cli.main import main
from narrows.experiments.compare import Comparison, Plan, at_equal_rate
from narrows.experiments.jobs import Job, Outcome


def recipe(path, kind="Identity", hidden=8, **arguments):
    network = {"hidden": hidden, "residual_layers": 1, "residual_hidden": 4, "downsamplings": 1}
    content = {
        "model": {
            "network": {"class_path": "narrows.networks.Conv", "init_args": network},
            "bottleneck": {"class_path": f"narrows.bottlenecks.{kind}", "init_args": arguments},
        },
        "fit": {"epochs": 1, "batch_size": 256},
    }
    path.write_text(f"# {kind}\n{yaml.safe_dump(content)}")
    return path


@pytest.fixture
def plain(tmp_path):
    return recipe(tmp_path / "plain.yaml", dim=2)


@pytest.fixture
def broken(tmp_path):
    return recipe(tmp_path / "broken.yaml", dim=-1)


def test_a_comparison_writes_figures_and_page_and_a_failed_run_stops_no_other(
    tmp_path, plain, broken, capsys
):
    out = tmp_path / "out"
    code = main(["compare", str(broken), str(plain), "--seeds", "2", "--out", str(out)])
    assert code == 1, "a failed run must show in the exit code"
    rows = list(csv.DictReader((out / "results.csv").read_text().splitlines()))
    assert [(row["label"], row["seed"]) for row in rows] == [("plain", "0"), ("plain", "1")]
    summary = json.loads((out / "metrics.json").read_text())
    assert len(summary["failures"]) == 2
    assert "in_features" in summary["failures"][0]
    mean = sum(float(row["nmse"]) for row in rows) / 2
    assert summary["intervals_95"]["plain"]["nmse"][0] == pytest.approx(mean)
    page = (out / "report.html").read_text()
    assert "failed: broken" in page
    assert "±" in page

    # Again: nothing is missing but what failed.
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")}
    assert len(stamps) == 2
    assert main(["compare", str(broken), str(plain), "--seeds", "2", "--out", str(out)]) == 1
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


@pytest.mark.slow
def test_killing_a_comparison_loses_only_the_run_in_flight(tmp_path, plain):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "narrows", "compare", str(plain), "--seeds", "3"]
    process = subprocess.Popen([*command, "--out", str(out)], start_new_session=True)
    while not list(out.rglob("job.json")):
        time.sleep(0.05)
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("job.json")}
    subprocess.run([*command, "--out", str(out)], check=True)
    assert len(list(out.rglob("job.json"))) == 3
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def plan(recipes, sweep=None):
    return Plan(recipes, "digits", range(2), {}, sweep or {})


def test_a_sweep_belongs_to_one_recipe_or_to_all(tmp_path, plain):
    other = recipe(tmp_path / "vq.yaml", "VectorQuantizer", size=8, dim=4)
    sweep = {"vq:model.bottleneck.size": ["8", "16"], "fit.epochs": ["1", "2", "3"]}
    made = plan({"plain": plain, "vq": other}, sweep)
    assert len(made.points("plain")) == 3
    assert len(made.points("vq")) == 6
    assert len(made.jobs()) == 2 * (3 + 6)
    assert len({job.key for job in made.jobs()}) == 18


def test_anything_that_changes_the_result_changes_the_key(plain):
    base = Job("plain", str(plain), "text", "digits", 0)
    others = [
        Job("plain", str(plain), "text!", "digits", 0),
        Job("plain", str(plain), "text", "mnist", 0),
        Job("plain", str(plain), "text", "digits", 1),
        Job("plain", str(plain), "text", "digits", 0, {"fit.epochs": "2"}),
        Job("plain", str(plain), "text", "digits", 0, {}, {"fit.epochs": "2"}),
    ]
    assert len({job.key for job in [base, *others]}) == 6


def test_recipes_that_differ_in_more_than_the_latent_are_named(tmp_path, plain):
    same = recipe(tmp_path / "vq.yaml", "VectorQuantizer", size=8, dim=4)
    wide = recipe(tmp_path / "wide.yaml", hidden=32, dim=2)
    assert plan({"plain": plain, "vq": same}).differences() == []
    (said,) = plan({"plain": plain, "wide": wide}).differences()
    assert "networks" in said
    assert "wide" in said


def test_at_equal_rate_the_better_curve_wins_whatever_its_points(tmp_path):
    def outcome(label, bits, psnr):
        folder = tmp_path / f"{label}-{bits}"
        folder.mkdir()
        test = {"bits_per_dimension": bits, "psnr": psnr, "nmse": 10 ** (-psnr / 10)}
        (folder / "metrics.json").write_text(json.dumps({"test": test}))
        job = Job(label, label, "", "digits", 0, {}, {"size": str(bits)})
        return Outcome(job, folder, 1.0, 1.0)

    # b has the lowest distortion of all points, but only because it spends more bits.
    points = {"a": [(0.5, 20.0), (1.0, 24.0), (2.0, 28.0)], "b": [(1.0, 22.0), (4.0, 30.0)]}
    outcomes = [outcome(k, *p) for k, ps in points.items() for p in ps]
    values = at_equal_rate(Comparison(plan({}), outcomes))
    assert values["a"] > values["b"]
    assert at_equal_rate(Comparison(plan({}), outcomes), bits=2.0)["a"] == pytest.approx(28.0)


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--sweep", "size"], "ARG=VALUE"),
        (["--seeds", "0"], "at least 1"),
        (["--jobs", "0"], "at least 1"),
    ],
)
def test_a_wrong_plan_is_one_sentence_before_anything_runs(plain, tmp_path, capsys, extra, said):
    assert main(["compare", str(plain), "--out", str(tmp_path / "out"), *extra]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_when_every_run_fails_the_command_fails_with_the_first_reason(broken, tmp_path, capsys):
    assert main(["compare", str(broken), "--seeds", "1", "--out", str(tmp_path / "out")]) == 1
    assert "all 1 runs failed" in capsys.readouterr().err
