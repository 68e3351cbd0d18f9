"""Claims as they are run: cached, resumable, within a budget, failing one by one."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import toys

from evidence import latest
from narrows.cli.main import UsageError
from narrows.report import strips
from narrows.tasks import Call, Local, kept
from reproductions import CLAIMS, DOCUMENTS, Claim, Estimate, Hypothesis, Scale, examine, page
from reproductions.__main__ import choose, main
from reproductions.figures import dots


def claim(function=toys.number, name="toy", minutes=0.1, seeds=3, bound=0.0, **arguments):
    def figures(evidence):
        picture = evidence.outcomes[0].result["picture"]
        return [
            dots({"toy": evidence.values("value")}, quantity="value", caption="A toy."),
            strips({"first": picture, "second": picture}, caption="Grey."),
        ]

    return Claim(
        name=name,
        document="001",
        place="nowhere",
        says="A number is above zero.",
        hypotheses=[
            Hypothesis("value", "above", bound, lambda e: Estimate.over_seeds(e.values("value")))
        ],
        trials=lambda scale: [Call(function, {**arguments, "seed": s}) for s in range(seeds)],
        figures=figures,
        minutes=minutes,
        notes=["A note | with a bar."],
    )


def test_claims_that_must_be_supported_contradicted_and_inconclusive_are(tmp_path):
    claims = [
        claim(name="up", value=1.0),
        claim(name="down", value=-1.0),
        claim(name="even", value=-0.01),
    ]
    found = examine(claims, Scale(), tmp_path)
    assert [one.verdict for one in found] == ["supported", "contradicted", "inconclusive"]


def test_a_page_with_all_verdicts_is_written_whole(tmp_path):
    examined = examine(
        [claim(name="up", value=1.0), claim(toys.fails, name="bad")], Scale(), tmp_path
    )
    path = page.write(examined, tmp_path / "out", "python -m reproductions <toy>")
    html = path.read_text()
    assert "https://" not in html
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert "1 supported, 1 not run" in html
    assert "it had to be" in html
    assert "python -m reproductions &lt;toy&gt;" in html
    content = json.loads((tmp_path / "out" / "claims.json").read_text())
    assert content[0]["hypotheses"][0]["interval_95"][0] > 0.9
    for name in ("claims/up-1.png", "claims/up-2.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")


def test_a_judged_claim_is_appended_to_the_ledger_once(tmp_path):
    examined = examine([claim(value=1.0), claim(toys.fails, name="bad")], Scale(), tmp_path)
    assert [page.record(examined, tmp_path) for _ in range(2)] == [1, 0]
    (run,) = latest("claims", tmp_path, claim="toy", size="default")
    assert run.figures["estimates"]["value"]["mean"] == pytest.approx(1.01)
    assert len(run.figures["pictures"]) == 2


def test_finished_trials_are_kept_and_only_what_is_missing_is_run(tmp_path):
    ran = []
    for seeds in (2, 2, 4):
        examine(
            [claim(toys.number, value=1.0, seeds=seeds)],
            Scale(),
            tmp_path,
            report=lambda claim, outcome: ran.append(outcome.task.arguments["seed"]),
        )
    assert ran == [0, 1, 2, 3]


def test_a_failed_trial_is_told_stops_no_other_and_is_tried_again(tmp_path):
    (one,) = examine([claim(toys.fails, seeds=2)], Scale(), tmp_path)
    assert one.verdict == "not run"
    assert len(one.problems) == 2
    assert "it had to be" in one.problems[0]
    assert kept(Call(toys.fails, {"seed": 0}), tmp_path / "trials") is None


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_results_do_not_depend_on_the_number_of_processes(tmp_path, jobs):
    (one,) = examine([claim(value=1.0)], Scale(), tmp_path, jobs=jobs)
    assert one.findings[0].estimate.mean == pytest.approx(1.01)
    assert one.trials == 3


@pytest.mark.slow
def test_a_worker_that_dies_is_one_failed_trial(tmp_path):
    claims = [claim(toys.dies, name="dead", seeds=1), claim(name="alive", value=1.0)]
    dead, alive = examine(claims, Scale(), tmp_path, jobs=2)
    assert "exit code -9" in dead.problems[0]
    assert alive.verdict == "supported"


def test_a_claim_that_cannot_fit_into_the_budget_is_not_begun_and_says_so(tmp_path):
    claims = [claim(name="long", minutes=50, value=1.0), claim(name="short", value=1.0)]
    long, short = examine(claims, Scale(), tmp_path, minutes=5)
    assert "about 50.0 minutes" in long.problems[0]
    assert long.verdict == "not run"
    assert short.verdict == "supported"
    # With all its trials kept it costs nothing, whatever it once took.
    Local().run(claims[0].trials(Scale()), tmp_path / "trials")
    for minutes in (5, 1e-9):
        assert examine(claims, Scale(), tmp_path, minutes=minutes)[0].verdict == "supported"


def test_the_clock_stops_a_claim_in_its_middle(tmp_path):
    (one,) = examine(
        [claim(toys.slow, seeds=8, minutes=0.0)], Scale(size="full"), tmp_path, minutes=0.5 / 60
    )
    assert "did not fit" in one.problems[0]
    assert 1 <= len(list((tmp_path / "trials").glob("slow-*/result.json"))) < 8


def test_names_choose_claims_and_unknown_ones_are_met_with_a_suggestion():
    first = CLAIMS[0]
    assert choose([first.name]) == [first]
    assert choose([first.document]) == list(DOCUMENTS["sparse_vae_report"])
    assert choose(["sparse_vae_report"]) == choose([first.document])
    assert choose([]) == list(CLAIMS)
    with pytest.raises(UsageError, match=f"did you mean '{first.name}'"):
        choose([first.name + "x"])


def test_no_two_claims_share_a_name_and_none_is_without_a_hypothesis():
    assert len({one.name for one in CLAIMS}) == len(CLAIMS)
    for one in CLAIMS:
        assert one.hypotheses
        assert one.minutes > 0
        assert one.name not in {c.document for c in CLAIMS} | DOCUMENTS.keys()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seeds", "0"], "at least 1"),
        (["--budget", "0"], "more than 0"),
        (["--tiny", "--full"], "exclude"),
        (["orderr-templates"], "did you mean"),
    ],
)
def test_a_wrong_command_is_one_sentence_before_anything_runs(tmp_path, capsys, arguments, said):
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_list_shows_every_claim_and_runs_nothing(tmp_path, capsys):
    assert main(["--list", "--out", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert all(one.name in text for one in CLAIMS)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine")
def test_a_browser_draws_the_page(tmp_path):
    path = page.write(examine([claim(value=1.0)], Scale(), tmp_path), tmp_path / "out", "x")
    shot = tmp_path / "shot.png"
    subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--hide-scrollbars",
         "--window-size=500,1600", f"--screenshot={shot}", path.as_uri()],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    from PIL import Image

    pixels = np.asarray(Image.open(shot).convert("RGB"))
    assert pixels.shape == (1600, 500, 3)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50, "the page is empty"
