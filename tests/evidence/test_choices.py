"""Races of `narrows choose` on their way into the ledger and onto a page."""

import json

import pytest

from evidence.choices import answers, provenance, races, table
from evidence.collect import collect


def race(rate, **more):
    return {
        "bits_per_dimension": rate,
        "ranking": ["rounded"],
        "decided": "rounded",
        "ended": True,
        "leads": {"vae": [1.25, 0.5]},
        "quality": {"vae": {"0": 20.0, "1": 20.5}, "rounded": {"0": 21.25, "1": 21.75, "2": None}},
        "dropped": [["vq", 0, "rounded"], ["fsq", 0, ""], ["vae", 1, "rounded"]],
        "refused": {"fsq": "asked for 9 bits per dimension; the nearest ..."},
        "gains": {"rounded": 0.3},
        **more,
    }


@pytest.fixture
def ledger(tmp_path):
    folder = tmp_path / "choice"
    folder.mkdir()
    found = {
        "command": "narrows choose --bits 0.5,1",
        "data": "digits",
        "train": 1257,
        "epochs": [20, 80],
        "seconds": 600.0,
        "answer": [],
        "answers": ["At 0.5 use rounded.", "At 1 use rounded."],
        "races": [race(0.5), race(1.0)],
    }
    (folder / "metrics.json").write_text(json.dumps(found))
    assert collect(folder, "digits", tmp_path) == 2
    return tmp_path


def test_each_rate_has_its_answer(ledger):
    assert answers("digits", ledger) == "At 0.5 use rounded.\n\nAt 1 use rounded."


def test_the_table_ranks_contenders_and_says_how_they_left(ledger):
    lines = table("digits", ledger).splitlines()[2:]
    assert [line.split(" | ")[1] for line in lines] == 2 * ["rounded", "vae", "fsq", "vq"]
    assert lines[0].startswith("| 0.5 | rounded | 21.50 ± 3.18 | 2 |  | 0.30 | in the race |")
    assert "| 1.25 ± 0.50 |  | left in the last heat, behind rounded |" in lines[1]
    assert lines[2].endswith("did not reach the rate |")
    assert lines[3].endswith("left after short runs, behind rounded |")


def test_a_later_race_takes_the_place_of_an_earlier_one(ledger):
    folder = ledger / "choice"
    found = json.loads((folder / "metrics.json").read_text())
    found |= {"races": [race(0.5, decided=None)], "answers": ["Now it is open."], "train": 900}
    (folder / "metrics.json").write_text(json.dumps(found))
    collect(folder, "digits", ledger)
    assert [run.figures["decided"] for run in races("digits", ledger)] == [None, "rounded"]
    assert answers("digits", ledger).startswith("Now it is open.")


def test_what_was_run_is_said(ledger):
    said = provenance("digits", ledger)
    assert said.startswith("    narrows choose --bits 0.5,1\n")
    assert "- epochs of short and long runs: 20, 80" in said
    assert "- minutes: 10" in said
