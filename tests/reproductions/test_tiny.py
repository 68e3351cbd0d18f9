"""Every claim runs, at a size that proves nothing else."""

import json

import pytest

from narrows.report.blocks import Block
from reproductions import CLAIMS, Scale, examine, page
from reproductions.__main__ import main

TINY = Scale("tiny", 2)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("claims")


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_a_claim_runs_and_is_judged_by_all_its_hypotheses(claim, root):
    if claim.lacks:
        pytest.skip(claim.lacks)
    (one,) = examine([claim], TINY, root)
    assert not one.problems
    assert len(one.findings) == len(claim.hypotheses)
    assert one.verdict in ("supported", "contradicted", "inconclusive", "undertrained")
    assert one.figures
    assert all(isinstance(block, Block) for block in one.figures)
    assert page.write([one], root, "python -m reproductions").is_file()
    assert page.record([one], root) == 1


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_the_sizes_differ_and_tell_seeds_apart(claim):
    for size in ("default", "full"):
        trials = claim.trials(Scale(size, 5, "digits"))
        assert len({trial.key for trial in trials}) == len(trials)


def test_the_command_writes_everything_and_a_second_one_runs_nothing(tmp_path, capsys):
    out = tmp_path / "out"
    command = ["order-templates", "--tiny", "--seeds", "2", "--jobs", "1"]
    assert main([*command, "--out", str(out)]) == 0
    first = capsys.readouterr()
    assert "order-templates" in first.out
    assert first.err.count("order-templates") == 6
    content = json.loads((out / "claims.json").read_text())
    assert [one["claim"] for one in content] == ["order-templates"]
    assert main([*command, "--out", str(out)]) == 0
    assert capsys.readouterr().err == ""
    assert json.loads((out / "claims.json").read_text()) == content
