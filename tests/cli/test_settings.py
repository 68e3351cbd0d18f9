"""Settings by short names, networks that suit the data, recipes and caches that are damaged."""

import json
import logging

import numpy as np
import pytest
import yaml

from narrows.cli.main import main
from narrows.compare.comparison import compare
from narrows.compare.plan import Plan

SMALL = {"fit.epochs": "1", "fit.batch_size": "64"}


@pytest.fixture
def vectors(tmp_path):
    draws = np.random.default_rng(0)
    table = draws.normal(size=(150, 3)) @ draws.normal(size=(3, 7))
    np.save(tmp_path / "x.npy", table.astype("f4"))
    return f"array:{tmp_path / 'x.npy'}"


@pytest.fixture(autouse=True)
def no_page(monkeypatch):
    monkeypatch.setattr("narrows.compare.pages.run.write", lambda *a, **k: None)


def test_short_names_set_what_they_are_short_for_on_data_of_any_kind(vectors, tmp_path):
    words = ["--epochs", "1", "--seed=3", "--batch-size", "50", "--learning-rate", "0.01"]
    out = tmp_path / "run"
    assert main(["train", "sparse-topk", "--data", vectors, *words, "--out", str(out)]) == 0
    config = yaml.safe_load((out / "config.yaml").read_text())
    fit = config["fit"]
    assert (fit["epochs"], fit["seed"], fit["batch_size"]) == (1, 3, 50)
    assert fit["optimization"]["init_args"]["learning_rate"] == 0.01
    assert config["model"]["network"]["class_path"] == "narrows.networks.Mlp"
    assert main(["train", str(out), "--data", vectors, "--out", str(tmp_path / "again")]) == 0


@pytest.mark.parametrize(
    ("recipe", "network"),
    [("semantic-ids", {"hidden": [512, 256], "sites": []}), ("pca", {"hidden": [], "sites": []})],
)
def test_a_recipe_for_vectors_keeps_its_network(recipe, network, vectors, tmp_path):
    out = tmp_path / "run"
    given = ["--epochs", "1", "--out", str(out)]
    given += ["--model.bottleneck.dim", "2"] if recipe == "pca" else []
    assert main(["train", recipe, "--data", vectors, *given]) == 0
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert config["model"]["network"]["init_args"] == network


def test_a_network_that_the_user_chose_is_not_replaced(vectors, tmp_path, capsys):
    words = [
        "--epochs",
        "1",
        "--model.network",
        "narrows.networks.Conv",
        "--out",
        str(tmp_path / "r"),
    ]
    assert main(["train", "vq", "--data", vectors, *words, "--out", str(tmp_path / "r")]) == 1
    assert "Conv" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "# nothing", "[]", "a: [", "data: digits"])
def test_an_empty_recipe_is_named(content, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(content)
    assert main(["train", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "run")]) == 1
    assert "mine.yaml" in (said := capsys.readouterr().err)
    assert "bottleneck" in said


PART = "class_path: narrows.VectorQuantizer"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f"model: {{bottleneck: {{{PART}, init_args: {{dim: 2}}}}}}\nnonsense: {{}}", "'nonsense'"),
        (f"model: {{bottleneck: {{{PART}}}, betta: }}", "did you mean beta?"),
        (f"model: {{bottleneck: {{{PART}, dim: 2}}}}", "stand below init_args"),
        (f"model: {{bottleneck: {{{PART}, init_arg: {{}}}}}}", "did you mean init_args?"),
        (f"model: {{bottleneck: {{{PART}, init_args: {{sise: {{}}}}}}}}", "did you mean size?"),
        (f"model: {{bottleneck: {{{PART}}}}}\nfit: {{epoch: {{}}}}", "did you mean epochs?"),
        (f"model: {{bottleneck: {{{PART}}}}}\nfit: {{callbacks: [{{class: x}}]}}", "class"),
    ],
)
def test_a_key_that_nothing_reads_is_refused_with_its_place(content, said, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(content)
    assert main(["train", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "run")]) != 0
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--fit.optimization.learning_rat 3", "did you mean learning_rate?"),
        ("--fit.optimization 3", "fit.optimization"),
        ("--model.likelihood.scale 2", "give its class_path first"),
        ("--fit.engine.precision 7", "one of '32-true'"),
        ("--model.network.class_path narrows.networks.Mpl", "did you mean Mlp?"),
    ],
)
def test_a_wrong_value_of_an_optional_part_is_a_sentence(words, said, tmp_path, capsys):
    assert main(["train", "vq", *words.split(), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert not [word for word in ("Union", "NoneType", "Namespace", "NestedArg") if word in error]


@pytest.mark.parametrize(
    ("command", "words", "said"),
    [
        ("train", "vq --lr 0.1", "--learning-rate"),
        ("train", "vq --lr=0.1 --data digits", "--learning-rate"),
        ("train", "vq --bs 8", "--batch-size"),
        ("train", "vq --num-epochs 8", "--epochs"),
        ("train", "vq --epoch 8", "--epochs"),
        ("train", "vq --output-dir x", "--out"),
        ("compare", "vq ae --lr 0.1", "--learning-rate"),
        ("evaluate", "run --dataset digits", "--data"),
        ("compress", "run --out_dir x", "--out"),
        ("choose", "--minute 3", "--minutes"),
        ("train", "vq --fit.optimization.lr 0.1", "learning_rate"),
    ],
)
def test_the_option_that_was_meant_is_named_by_every_command(command, words, said, capsys):
    assert main([command, *words.split()]) == 2
    assert f"did you mean {said}?" in capsys.readouterr().err


def test_what_is_like_no_option_leads_to_the_list(capsys):
    assert main(["train", "vq", "--zzz", "1"]) == 2
    assert "--zzz 1; --help lists the options" in capsys.readouterr().err


@pytest.mark.slow
def test_a_comparison_outlives_an_empty_recipe_and_mends_damaged_runs(vectors, tmp_path, caplog):
    from narrows.cli import recipes

    (tmp_path / "empty.yaml").write_text("")
    files = {"ae": recipes.find("ae"), "empty": tmp_path / "empty.yaml"}
    plan = Plan(files, vectors, [0], SMALL)

    def outcomes():
        return compare(plan, tmp_path / "out", measures=False).outcomes

    good, bad = outcomes()
    assert good.error is None
    assert "empty.yaml" in bad.error
    assert plan.differences() == []
    assert outcomes()[0].reused
    run = good.folder / "run"
    for name in ("model.safetensors", "metrics.json"):
        (run / name).write_bytes((run / name).read_bytes()[:-7])
        with caplog.at_level(logging.WARNING):
            mended = outcomes()[0]
        assert not mended.reused
        assert f"run/{name} is gone or damaged" in caplog.text
        assert mended.figures == good.figures
    assert json.loads((run / "metrics.json").read_text())


@pytest.mark.parametrize("option", ["--model.objective", "--model.network", "--fit.rate"])
def test_where_a_class_belongs_a_value_is_refused_with_the_way_to_see_what_is_there(option, capsys):
    assert main(["train", "vq", option, "3"]) == 2
    assert "expected the path of a class, got 3; --print_config shows" in capsys.readouterr().err
