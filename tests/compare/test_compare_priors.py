"""`narrows compare --priors`: what is coded, kept, shown, and said of failures."""

import csv
import json
import re
from pathlib import Path

import pytest
import yaml

from narrows.cli.main import main
from narrows.compare import bench as measuring
from narrows.compare.bench import Bench, Source
from narrows.compare.comparison import Comparison
from narrows.compare.pages.priors import sections
from narrows.compare.plan import AfterTraining, Plan
from narrows.compare.priors import Coded, Request
from narrows.compare.run import Job
from narrows.report import Page
from narrows.tasks import Outcome
from narrows.training.priors import find_recipe


def recipe(path, kind, **arguments):
    network = {"hidden": 8, "residual_layers": 0, "downsamplings": 1}
    content = {
        "model": {
            "network": {"class_path": "narrows.networks.Conv", "init_args": network},
            "bottleneck": {"class_path": f"narrows.bottlenecks.{kind}", "init_args": arguments},
        },
        "fit": {"epochs": 1, "batch_size": 64},
    }
    path.write_text(f"# {kind}\n{yaml.safe_dump(content)}")
    return path


@pytest.fixture(scope="module")
def recipes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    return [
        str(recipe(folder / "vq.yaml", "VectorQuantizer", size=8, dim=4)),
        str(recipe(folder / "plain.yaml", "Identity", dim=2)),
        str(recipe(folder / "vae.yaml", "Variational", dim=2)),
    ]


@pytest.fixture(scope="module")
def compared(recipes, tmp_path_factory):
    """Three recipes, two seeds, priors of each, and a prior that cannot be fitted."""
    out = tmp_path_factory.mktemp("compare") / "out"
    words = [
        "compare", *recipes, "--seeds", "2", "--out", str(out), "--steps", "1,4", "--skip-measures",
        "--data-options.train_examples", "300", "--data-options.test_examples", "100",
        "--priors", "uniform,pixelcnn,quantized,mixture", "--prior-options.epochs", "1",
        "--prior-options.width", "8", "--prior-options.components", "2", "--files", "60",
        "--jobs", "1",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        whole = measuring.priors.measure

        def failing(model, data, request):
            if request.kind == "mixture" and request.seed == 1:
                raise ValueError("no mixture today")
            return whole(model, data, request)

        patch.setattr(measuring.priors, "measure", failing)
        code = main(words)
    return words, out, code


def rows(out):
    every = csv.DictReader((out / "results.csv").read_text().splitlines())
    return [row for row in every if row["prior"]]


def test_each_run_is_coded_under_the_priors_that_suit_it_at_every_step(compared):
    _, out, _ = compared
    found = {(r["label"], r["seed"], r["prior"], float(r["step_factor"])) for r in rows(out)}
    both = [
        *(("vq", kind, 1.0) for kind in ("uniform", "pixelcnn")),
        *(("plain", "quantized", factor) for factor in (1.0, 4.0)),
        *(("vae", "quantized", factor) for factor in (1.0, 4.0)), ("vae", "KL", 1.0),
    ]  # fmt: skip
    mixtures = [("plain", "mixture", 1.0), ("plain", "mixture", 4.0), ("vae", "mixture", 1.0)]
    expected = {(label, seed, kind, f) for label, kind, f in both for seed in ("0", "1")}
    expected |= {(label, "0", kind, f) for label, kind, f in mixtures}
    assert found == expected


def test_files_take_what_was_estimated_and_intervals_are_over_seeds(compared):
    _, out, _ = compared
    stored = [row for row in rows(out) if row["file_bits"]]
    assert len(stored) == 14
    for row in stored:
        estimate = float(row["file_estimate"])
        assert abs(float(row["file_bits"]) - estimate) <= 0.01 * estimate + 64 / 60
    summary = json.loads((out / "metrics.json").read_text())
    own = [float(r["nmse"]) for r in rows(out) if (r["label"], r["prior"]) == ("vq", "uniform")]
    mean, half = summary["priors_95"]["vq, uniform"]["nmse"]
    assert mean == pytest.approx(sum(own) / 2)
    assert half == pytest.approx(12.706 * abs(own[0] - own[1]) / 2, rel=1e-3)
    lossless = summary["priors_95"]["vae, KL"]
    assert lossless["lossless_file_bits"][0] == pytest.approx(
        lossless["lossless_estimate"][0], rel=0.01
    )


def test_a_prior_that_fails_is_counted_and_shown_and_stops_no_other(compared):
    _, out, code = compared
    assert code == 1
    summary = json.loads((out / "metrics.json").read_text())
    assert len(summary["failed_priors"]) == 3
    assert summary["failures"] == []
    page = (out / "report.html").read_text()
    assert page.count("no mixture today") >= 3
    assert "3 of 20 priors failed" in page


def test_the_page_shows_a_table_a_figure_and_samples_of_each_prior(compared):
    _, out, _ = compared
    page = (out / "report.html").read_text()
    headings = re.findall(r"<h2[^>]*>([^<]*)</h2>", page)
    assert {"Bits under each prior", "Samples of each prior"} <= set(headings)
    section = page[page.index("Bits under each prior</h2>") :]
    for name in ("vq, pixelcnn", "plain, quantized, step x4", "vae, KL"):
        assert f'<th scope="row">{name}</th>' in section
    drawn = re.findall(r'alt="Samples of ([^"]*)\."', page)
    assert drawn == [
        "vq, uniform", "vq, pixelcnn", "plain, quantized", "plain, mixture", "vae, quantized",
        "vae, mixture", "vae, KL",
    ]  # fmt: skip
    assert "95 % intervals over seeds" in section


def test_again_fits_only_what_failed(compared):
    words, out, _ = compared
    kept = [*out.rglob("coded-*/*"), *out.rglob("model.safetensors")]
    stamps = {path: path.stat().st_mtime_ns for path in kept}
    before = sum(path.suffix == ".json" for path in kept)
    assert before == 17  # one record of each
    assert main(words) == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == stamps
    after = json.loads((out / "metrics.json").read_text())
    assert after["failed_priors"] == []
    assert len(list(out.rglob("coded-*/result.json"))) == 20


def coded(seeds):
    """A run of each seed under one prior, made up."""
    found = []
    for seed in seeds:
        job = Job("vq", "vq.yaml", "", "digits", seed)
        figures = {
            "bits_per_example": 30.0 + seed, "bits_per_dimension": 0.5 + seed / 64,
            "file_bits": 30.2 + seed, "file_estimate": 30.1 + seed, "file_images": 50,
            "nmse": 0.2 + seed / 10, "psnr": 15.0 + seed, "mse": 0.02,
        }  # fmt: skip
        request = Request(find_recipe("histogram"), files=50)
        found.append(Coded(Outcome(job, Path("nowhere")), request, figures))
    return found


@pytest.mark.parametrize("seeds", [1, 2])
def test_intervals_are_spoken_of_only_where_there_are_several_seeds(seeds):
    plan = Plan(
        {"vq": Path("vq.yaml")},
        "digits",
        range(seeds),
        after=AfterTraining(priors=[find_recipe("histogram")]),
    )
    (section,) = sections(coded(range(seeds)), plan)
    text = Page("", [], [section]).html().split("</style>")[1]
    assert ("one seed" in text) == (seeds == 1)
    assert ("interval" in text) == (seeds > 1)
    assert ("±" in text) == (seeds > 1)


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--priors", "pixelcn"], "did you mean 'pixelcnn'?"),
        (["--priors", "zzz"], "there are factorial, histogram"),
        (
            ["--priors", "histogram,support"],
            "--priors support suits none of these recipes: vq: SparseMixture is for atoms",
        ),
        (["--priors", "histogram", "--prior-options.epoch", "3"], "did you mean 'epochs'?"),
        (["--priors", "histogram", "--prior-options.width", "0"], "takes a number from 1"),
        (
            ["--priors", "histogram,pixelcnn", "--prior-options.layer", "3"],
            "did you mean 'layers'?",
        ),
        (["--priors", "pixelcnn", "--prior-options.epochs", "many"], "takes a number from 1"),
        (["--priors", "histogram", "--files", "0"], "--files must be at least 1"),
    ],
)
def test_a_wrong_prior_is_one_sentence_before_anything_runs(recipes, tmp_path, capsys, extra, said):
    assert main(["compare", *recipes, "--out", str(tmp_path / "out"), *extra]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_priors_nothing_is_coded(tmp_path):
    assert Comparison.__dataclass_fields__["coded"].default == ()
    with Bench(Source("digits", {}), tmp_path) as bench:
        assert bench.code([]) == []
