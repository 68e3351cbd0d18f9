"""A comparison: what it runs, what it keeps, what it says of failures."""

import csv
import html
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from narrows.cli.main import main
from narrows.compare.comparison import Plan
from narrows.compare.run import RUN, Job


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


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A comparison of two recipes, one of which cannot be built, and its output folder."""
    folder = tmp_path_factory.mktemp("compare")
    good, bad = recipe(folder / "plain.yaml", dim=2), recipe(folder / "broken.yaml", dim=-1)
    out = folder / "out"
    words = [
        "compare", str(bad), str(good), "--seeds", "2", "--out", str(out), "--steps", "1,4",
        "--data-options.train_examples", "400", "--data-options.test_examples", "120",
    ]  # fmt: skip
    return words, out, main(words)


def test_a_failed_run_stops_no_other_and_is_counted_and_shown(compared):
    _, out, code = compared
    assert code == 1, "a failed run must show in the exit code"
    summary = json.loads((out / "metrics.json").read_text())
    assert len(summary["failures"]) == 2
    assert "in_features" in summary["failures"][0]
    page = (out / "report.html").read_text()
    assert "2 of 4 runs failed" in page
    assert "failed: broken" in page
    assert "Failed runs" in page
    assert "narrows train" in page, "and how to see it fail again"


def test_every_run_and_step_has_its_row_and_the_intervals_are_over_seeds(compared):
    _, out, _ = compared
    rows = list(csv.DictReader((out / "results.csv").read_text().splitlines()))
    assert [(row["label"], row["seed"], row["step_factor"]) for row in rows] == [
        ("plain", "0", "1.0"), ("plain", "0", "4.0"), ("plain", "1", "1.0"), ("plain", "1", "4.0"),
    ]  # fmt: skip
    summary = json.loads((out / "metrics.json").read_text())
    own = [float(row["nmse"]) for row in rows if row["step_factor"] == "1.0"]
    mean, half = summary["intervals_95"]["plain"]["nmse"]
    assert mean == pytest.approx(sum(own) / 2)
    assert half == pytest.approx(12.706 * abs(own[0] - own[1]) / 2, rel=1e-3)  # t, one degree
    assert all(float(row["processor_seconds"]) > 1 for row in rows)
    assert float(rows[1]["bits_per_dimension"]) < float(rows[0]["bits_per_dimension"])
    assert "digits (400 training examples, 120 test examples)" in summary["data"]


@pytest.mark.parametrize(
    ("place", "folders", "shown"),
    [
        ("judge.Judge.judge", "measures-*", "failed: measures-x1 of plain"),
        ("bench.with_step", "step-x*", "failed: step-x4 of plain"),
        ("comparison.requests", "coded-*", "failed: priors of plain"),
    ],
)
def test_a_measure_that_fails_is_counted_and_shown_and_stops_nothing(
    compared, tmp_path, monkeypatch, place, folders, shown
):
    def fails(*_args, **_options):
        raise RuntimeError("out of luck")

    words, before, _ = compared
    out = shutil.copytree(before, tmp_path / "out")
    for folder in (out / "runs").rglob(folders):
        shutil.rmtree(folder)
    monkeypatch.setattr(f"narrows.compare.{place}", fails)
    words = [words[0], *words[2:], "--jobs", "1", "--priors", "quantized", "--out", str(out)]
    assert main(words) == 1
    page = (out / "report.html").read_text()
    assert shown in page
    assert "out of luck" in page
    assert (out / "results.csv").read_text().count("plain") >= 2


def test_parquet_holds_what_the_csv_does(compared):
    parquet = pytest.importorskip("pyarrow.parquet")
    _, out, _ = compared
    table = parquet.read_table(out / "results.parquet")
    rows = list(csv.DictReader((out / "results.csv").read_text().splitlines()))
    assert table.column_names == list(rows[0])
    assert table.column("nmse").to_pylist() == [float(row["nmse"]) for row in rows]


def test_the_points_shown_are_measured_for_every_seed(compared):
    _, out, _ = compared
    summary = json.loads((out / "metrics.json").read_text())
    shown = summary["intervals_95"][summary["shown"]["plain"]]
    assert {"unit_information", "whole_information", "class_information"} <= shown.keys()
    assert {"kid", "kid_floor", "linear_probe", "laplacian_ratio", "denoised_0.5"} <= shown.keys()
    assert shown["real_on_real"][0] > 0.7
    assert len(list(out.rglob("measures-*/result.json"))) == 2


def test_the_page_and_its_files_show_everything_that_was_promised(compared):
    _, out, _ = compared
    page = (out / "report.html").read_text()
    headings = re.findall(r"<h2[^>]*>([^<]*)</h2>", page)
    assert {
        "Figures", "Reconstructions", "Sharpness", "Samples", "What is retained", "Denoising",
        "Training", "Structure of the codes", "Information in the codes", "Codes by class",
        "Single units", "Latent maps", "Receptive fields", "Between codes", "Along single features",
        "Paired differences over seeds", "Every point of the curves", "Commands and versions",
    } <= set(headings)  # fmt: skip
    assert len(page) < 5_000_000
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page), "no outside requests"
    text = (out / "report.md").read_text()
    for name in re.findall(r"\]\((figures/[^)]+)\)", text):
        assert (out / name).stat().st_size > 100
    assert "narrows compare" in text


chromium = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.skipif(chromium is None, reason="needs the chromium browser")
@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_shows_the_whole_page_without_scrolling_sideways(compared, tmp_path, width):
    page = (compared[1] / "report.html").read_text()
    frame = tmp_path / "frame.html"  # a window of the browser's own has a minimum width
    frame.write_text(
        f'<iframe width="{width}" height="900" srcdoc="{html.escape(page)}"></iframe>'
        "<script>onload = () => { const d = document.querySelector('iframe').contentDocument;"
        "const drawn = [...d.querySelectorAll('svg.figure, img')];"
        "const wide = Math.max(...[...d.querySelectorAll('section > *')].map("
        "e => e.getBoundingClientRect().right));"
        "document.body.textContent = `RESULT ${d.documentElement.scrollWidth} ${wide} "
        "${drawn.length} ${drawn.filter(f => f.getBoundingClientRect().width > 100).length} "
        "${[...d.images].filter(i => !i.naturalWidth || !i.alt).length} END` }</script>"
    )
    found = subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
            frame.as_uri(),
        ],
        capture_output=True, text=True, timeout=300, check=True,
    ).stdout  # fmt: skip
    values = map(float, found.split("RESULT")[1].split("END")[0].split())
    content, right, pictures, visible, broken = values
    assert content <= width
    assert right <= width
    assert pictures == visible > 15
    assert broken == 0


def test_runs_on_other_examples_of_the_same_name_are_not_compared(compared, tmp_path, capsys):
    words, before, _ = compared
    (tmp_path / "runs").mkdir()
    (content,) = (v for k, v in json.loads((before / "data.json").read_text()).items() if "{" in k)
    text = (before / "data.json").read_text().replace(content, "f" * 16)
    kept = {name: v for name, v in json.loads(text).items() if name != "checksum"}
    (tmp_path / "data.json").write_text(json.dumps(kept))
    assert main([*words, "--out", str(tmp_path)]) == 1
    assert "digits has changed since; give another --out" in capsys.readouterr().err
    assert not list((tmp_path / "runs").iterdir())


def test_again_does_only_what_is_missing(compared):
    words, out, _ = compared
    kept = [*out.rglob("model.safetensors"), *out.rglob("measures-*/*"), *out.rglob("step-*/*")]
    assert len(kept) == 6
    stamps = {path: path.stat().st_mtime_ns for path in kept}
    assert main([*words, "--jobs", "1"]) == 1
    assert {path: path.stat().st_mtime_ns for path in kept} == stamps


def running(folder):
    """Ids of processes whose command line names the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks at /proc")
def test_a_run_ends_with_the_comparison_that_started_it(tmp_path, plain):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "narrows", "compare", str(plain), "--seeds", "1"]
    process = subprocess.Popen([*command, "--set", "fit.epochs=100000", "--out", str(out)])
    while not list(out.rglob("metrics.jsonl")):
        time.sleep(0.05)
        assert process.poll() is None
    assert len(running(out)) == 2
    process.kill()  # the comparison alone, by SIGKILL: it cannot say goodbye
    process.wait()
    limit = time.monotonic() + 60
    while running(out) and time.monotonic() < limit:
        time.sleep(0.05)
    assert running(out) == [], "a second comparison would meet the first one's run in its folder"


@pytest.mark.slow
def test_killing_a_comparison_loses_only_the_run_in_flight(tmp_path, plain):
    out = tmp_path / "out"
    command = [
        sys.executable, "-m", "narrows", "compare", str(plain), "--seeds", "3", "--jobs", "1",
        "--skip-measures",
    ]  # fmt: skip
    process = subprocess.Popen([*command, "--out", str(out)])
    while not list(out.glob("runs/plain-seed*/result.json")):
        time.sleep(0.05)
        assert process.poll() is None
    process.kill()
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("runs/plain-seed*/result.json")}
    subprocess.run([*command, "--out", str(out)], check=True)
    assert len(list(out.glob("runs/plain-seed*/result.json"))) == 3
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


def test_the_same_network_and_budget_in_other_words_are_the_same(tmp_path, plain):
    """YAML reads 2e-3 as a word, and a default left out is the default."""
    for name, rate, extra in (("one", "2e-3", {}), ("two", 0.002, {"residual_hidden": 32})):
        content = {
            "model": {
                "network": {"class_path": "narrows.networks.Conv", "init_args": extra},
                "bottleneck": {
                    "class_path": "narrows.bottlenecks.Identity",
                    "init_args": {"dim": 2},
                },
            },
            "fit": {
                "epochs": 3,
                "optimization": {
                    "class_path": "narrows.training.Optimization",
                    "init_args": {"learning_rate": rate},
                },
            },
        }
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    recipes = {name: tmp_path / f"{name}.yaml" for name in ("one", "two")}
    assert plan(recipes).differences() == []
    assert len(plan({**recipes, "plain": plain}).differences()) == 2


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--sweep", "size"], "ARG=VALUE"),
        (["--sweep", "plian:model.bottleneck.dim=2,4"], "did you mean plain:model.bottleneck.dim"),
        (["--sweep", "vq:model.bottleneck.dim=2,4"], "no recipe 'vq' here; compared are plain"),
        (["--seeds", "0"], "at least 1"),
        (["--jobs", "0"], "at least 1"),
        (["--steps", "1,x"], "positive factors"),
        (["--steps", "0"], "positive factors"),
    ],
)
def test_a_wrong_plan_is_one_sentence_before_anything_runs(plain, tmp_path, capsys, extra, said):
    assert main(["compare", str(plain), "--out", str(tmp_path / "out"), *extra]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_when_every_run_fails_the_command_fails_with_the_first_reason(broken, tmp_path, capsys):
    assert main(["compare", str(broken), "--seeds", "1", "--out", str(tmp_path / "out")]) == 1
    assert "all 1 runs failed" in capsys.readouterr().err


def test_values_of_a_sweep_may_be_lists():
    from narrows.cli.compare import _values

    assert _values("1,2,4") == ["1", "2", "4"]
    assert _values("[8,8],[8,6,5]") == ["[8,8]", "[8,6,5]"]


def test_umap_that_is_not_there_is_said_before_anything_runs(plain, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    out = tmp_path / "out"
    words = ["compare", str(plain), "--umap", "--seeds", "1", "--skip-measures"]
    assert main([*words, "--out", str(out)]) == 1
    assert "pip install 'narrows[umap]'" in capsys.readouterr().err
    assert not out.exists()


def test_a_run_that_was_killed_at_its_very_end_is_made_anew(tmp_path, plain, monkeypatch):
    """Its figures are there, but not what it cost: neither finished nor to be resumed."""
    job = Job("plain", str(plain), "text", "digits", 0)
    folder = job.folder(tmp_path) / RUN
    assert "--resume" not in job.arguments(folder), "nothing to go on from"
    for name in ("read_configuration", "load_checkpoint"):  # as if both were whole
        monkeypatch.setattr(f"narrows.compare.run.{name}", lambda path: {})
    folder.mkdir(parents=True)
    assert job.arguments(folder) == ["train", "--resume", str(folder)]
    (folder / "metrics.json").write_text("{}")
    assert "--resume" not in job.arguments(folder)
    assert folder.exists(), "naming the command changes nothing"


def test_recipes_of_one_name_are_told_apart_by_their_path(tmp_path, monkeypatch):
    from narrows.cli.compare import labels

    monkeypatch.chdir(tmp_path)
    for folder in ("one", "two", "two/deep"):
        Path(folder).mkdir()
        recipe(Path(folder) / "ae.yaml", dim=2)
    recipe(Path("ae.yaml"), dim=2)
    assert list(labels(["ae", "one/ae.yaml", "vq"])) == ["ae", "one/ae", "vq"]
    assert list(labels(["one/ae.yaml", str(tmp_path / "two/ae.yaml")])) == ["one/ae", "two/ae"]
    assert list(labels(["ae", "ae.yaml", "two/deep/ae.yaml"])) == ["ae", "ae.yaml", "deep/ae"]
    assert list(labels(["one/ae.yaml", "one/ae.yaml"])) == ["ae"]
    jobs = plan(labels(["ae", "one/ae.yaml", "two/ae.yaml"])).jobs()
    folders = {job.folder(tmp_path) for job in jobs}
    assert len(folders) == 6
    assert all(folder.parent == tmp_path for folder in folders)


def test_a_failed_run_keeps_every_line_of_its_reason():
    from narrows.compare.run import _narrows

    with pytest.raises(RuntimeError, match="there is no recipe 'nothing'"):
        _narrows(["train", "nothing"])
    with pytest.raises(RuntimeError, match=r"^narrows: .*cannot.*\n|^narrows: "):
        _narrows(["train", "ae", "--data", "array:not-there.npy"])


def test_a_run_without_its_page_gets_it_by_a_command(compared, tmp_path, capsys):
    source = next(compared[1].glob("runs/plain-seed0-*/run"))
    run = shutil.copytree(source, tmp_path / "run")
    (run / "report.html").unlink()
    assert main(["report", str(run)]) == 0
    assert "report.html" in capsys.readouterr().out
    assert "narrows train" in (run / "report.html").read_text()
