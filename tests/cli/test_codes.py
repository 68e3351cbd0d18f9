"""`narrows codes`: items and their codes, in the order of the file."""

import csv
import json

import numpy as np
import pytest
import torch

import narrows as nw
from narrows.cli.main import main


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of the recipe on vectors, their file, and the folder of both."""
    folder = tmp_path_factory.mktemp("ids")
    vectors = np.random.default_rng(0).normal(size=(300, 12)).astype(np.float32)
    np.save(folder / "vectors.npy", vectors)
    command = ["train", "semantic-ids", "--data", f"array:{folder / 'vectors.npy'}"]
    small = ["--fit.epochs", "2", "--fit.batch_size", "64", "--model.bottleneck.stage.size", "8"]
    assert main([*command, *small, "--out", str(folder / "run")]) == 0
    return folder, vectors


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_the_table_has_each_items_code_in_the_order_of_the_file(made, capsys):
    folder, vectors = made
    (folder / "names.txt").write_text("".join(f"item {i}\n" for i in range(300)))
    capsys.readouterr()
    arguments = [str(folder / "run"), str(folder / "vectors.npy")]
    assert main(["codes", *arguments, "--names", str(folder / "names.txt")]) == 0
    printed, path = capsys.readouterr().out.rsplit("}", 1)
    head, *table = rows(folder / "run" / "codes.csv")
    assert head == ["item", "code_0", "code_1", "code_2", "tie"]
    assert [row[0] for row in table] == [f"item {i}" for i in range(300)]
    model = nw.Run.load(folder / "run").model
    code = torch.tensor([[int(index) for index in row[1:4]] for row in table])
    assert torch.equal(code, model.encode(torch.from_numpy(vectors)))
    assert len({tuple(row[1:]) for row in table}) == 300
    found = json.loads(printed + "}")
    assert found["uniqueness"] == len(code.unique(dim=0)) / 300
    assert found["levels"][0]["purity"] > found["levels"][0]["chance"]
    assert path.strip() == str(folder / "run" / "codes.csv")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["vectors.npz"], "expected a .npy file"),
        (["vectors.npy", "--out", "codes.xlsx"], "expected a table .csv or .parquet"),
        (
            ["vectors.npy", "--names", "few.txt"],
            "expected 300 names, a line for each example, got 1",
        ),
    ],
)
def test_what_cannot_be_written_is_refused(made, arguments, says, capsys, monkeypatch):
    folder, _ = made
    (folder / "few.txt").write_text("one\n")
    monkeypatch.chdir(folder)
    assert main(["codes", "run", *arguments]) == 1
    assert says in capsys.readouterr().err


def test_a_code_of_values_is_refused(made, tmp_path, capsys):
    folder, _ = made
    data = f"array:{folder / 'vectors.npy'}"
    out = str(tmp_path / "ae")
    assert main(["train", "ae", "--data", data, "--model.network", "narrows.networks.Mlp",
                 "--fit.epochs", "1", "--out", out]) == 0  # fmt: skip
    assert main(["codes", out, str(folder / "vectors.npy")]) == 1
    assert "Identity has codes of values" in capsys.readouterr().err
