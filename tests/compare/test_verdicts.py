"""Sentences that say no more than the figures do."""

import dataclasses
import json
import re

import pytest

from narrows.compare.comparison import Comparison, Plan, Point
from narrows.compare.equal_rate import standings
from narrows.compare.pages.verdicts import _verdict as verdict
from narrows.compare.pages.verdicts import sentences
from narrows.compare.run import Job
from narrows.compare.statistics import interval
from narrows.tasks import Outcome


def point(folder, label, seed, bits, psnr, **more):
    job = Job(label, label, "", "digits", seed, {}, {"size": f"{bits:g}"})
    figures = {
        "bits_per_dimension": bits, "psnr": psnr, "nmse": 10 ** (-psnr / 10), "seconds": 3.0, **more
    }  # fmt: skip
    return Point(Outcome(job, folder), 1.0, figures)


def comparison(tmp_path, curves, measures=None, seeds=3, failed=0):
    points = [
        point(tmp_path, label, seed, bits, psnr + noise * seed)
        for label, (pairs, noise) in curves.items()
        for bits, psnr in pairs
        for seed in range(seeds)
    ]
    outcomes = [p.outcome for p in points]
    outcomes += [
        Outcome(Job("bad", "bad", "", "digits", i), tmp_path, error="out of memory")
        for i in range(failed)
    ]
    plan = Plan({label: tmp_path for label in curves}, "digits", range(seeds))
    return Comparison(plan, outcomes, points, measures or {})


A, B = [(0.5, 20.0), (2.0, 28.0)], [(0.5, 18.0), (2.0, 26.0)]


def test_a_steady_lead_is_called_one(tmp_path):
    text = sentences(comparison(tmp_path, {"a": (A, 0.1), "b": (B, 0.1)}))[0]
    assert "a reconstructs best" in text
    assert "2 dB ± " in text
    assert "no significant difference" not in text


def test_a_lead_within_the_spread_of_seeds_is_not(tmp_path):
    close = [(bits, q - 0.05) for bits, q in A]
    text = sentences(comparison(tmp_path, {"a": (A, 0.0), "b": (close, 0.3)}))[0]
    assert "no significant difference from" in text


def test_one_seed_is_said_to_be_one(tmp_path):
    text = sentences(comparison(tmp_path, {"a": (A, 0), "b": (B, 0)}, seeds=1))[0]
    assert "on one seed" in text
    assert not re.search("best|ahead|lead|wins|beats", text)
    assert re.search(r"a [\d.]+ dB, b [\d.]+ dB", text)


def test_a_rival_with_one_finished_seed_is_said_to_have_one(tmp_path):
    known = comparison(tmp_path, {"a": (A, 0.1), "b": (B, 0.1), "c": (B, 0.1)})
    few = [p for p in known.points if p.label != "c" or p.seed == 1]
    text = sentences(dataclasses.replace(known, points=few))[0]
    assert "no recipe is best: a has the highest mean" in text
    assert "fewer than two seeds in common with c, and so no interval" in text
    assert "on one seed" not in text


def test_each_rate_is_judged_by_its_own_interval(tmp_path):
    """The middle one of three rates is certain, the other two are not."""
    spread = {0.5: (0.0, 2.0, -2.0), 1.0: (0.0, 0.0, 0.0), 2.0: (0.0, -4.0, 4.0)}
    points = [
        point(tmp_path, label, seed, bits, quality + (noise[seed] if label == "b" else 0))
        for bits, noise in spread.items()
        for label, quality in (("a", 20 + 10 * bits), ("b", 19 + 10 * bits))
        for seed in range(3)
    ]
    known = comparison(tmp_path, {})
    known = dataclasses.replace(known, points=points, outcomes=[p.outcome for p in points])
    found = [s for s in standings(known.curves()) if verdict(s)[0]]
    assert 0 < len(found) < len(standings(known.curves()))
    text = sentences(known)[0]
    assert "no recipe is best" in text
    assert "a reconstructs best" in text
    for standing in standings(known.curves()):
        own = standing.values
        differences = [own["a"][seed] - own["b"][seed] for seed in range(3)]
        mean, half = interval(differences)
        assert (standing in found) == (mean > half)


def test_a_leader_has_to_be_above_every_other_recipe_and_not_only_the_next(tmp_path):
    wide = [(0.5, 17.0), (2.0, 25.0)]
    text = sentences(comparison(tmp_path, {"a": (A, 0.0), "b": (B, 0.0), "wild": (wide, 2.0)}))[0]
    assert "no recipe is best" in text
    assert "no significant difference from wild" in text


def test_equal_recipes_are_not_told_to_differ(tmp_path):
    text = sentences(comparison(tmp_path, {"a": (A, 0.1), "b": (A, 0.1)}))[0]
    assert "no recipe is best" in text


def test_cost_is_processor_time_where_every_run_has_one(tmp_path):
    curves = {"a": (A, 0.1), "b": (B, 0.1)}
    assert sentences(comparison(tmp_path, curves))[-1].startswith("A run took 3 s (a) to 3 s")
    known = comparison(tmp_path, curves)
    for index, p in enumerate(known.points):
        p.figures["processor_seconds"] = 5.0 if index < 6 else 7.0
    said = sentences(known)[-1]
    assert said.startswith("A run took 5 s of processor time (a) to 7 s (b)")


def test_without_a_common_rate_nobody_wins(tmp_path):
    curves = {"a": ([(0.5, 20.0)], 0.1), "b": ([(4.0, 30.0)], 0.1)}
    text = sentences(comparison(tmp_path, curves))[0]
    assert "could not be compared at an equal rate" in text
    assert "best" not in text
    assert "a (size=0.5) 0.0" in text
    assert "--sweep auto" in text


def test_a_recipe_out_of_reach_is_named(tmp_path):
    curves = {"a": (A, 0.1), "b": (B, 0.1), "far": ([(90.0, 50.0)], 0.1)}
    assert any(
        "far" in s and "ould not be compared at an equal rate" in s
        for s in sentences(comparison(tmp_path, curves))
    )


def test_other_qualities_name_their_winner_only_beyond_the_spread(tmp_path):
    plain = comparison(tmp_path, {"a": (A, 0.1), "b": (B, 0.1)})
    names = plain.representatives()

    def with_kid(a, b):
        measures = {
            names["a"]: {s: {"kid": v} for s, v in enumerate(a)},
            names["b"]: {s: {"kid": v} for s, v in enumerate(b)},
        }
        found = sentences(comparison(tmp_path, {"a": (A, 0.1), "b": (B, 0.1)}, measures))
        return next(s for s in found if s.startswith("Samples"))

    assert "a (KID 0.1) is best, a significant difference" in with_kid(
        [0.1, 0.11, 0.09], [0.5, 0.51, 0.49]
    )
    assert "no significant difference from" in with_kid([0.1, 0.6, 0.2], [0.3, 0.2, 0.45])


def test_failed_runs_are_counted_in_the_answer(tmp_path):
    found = sentences(comparison(tmp_path, {"a": (A, 0.1), "b": (B, 0.1)}, failed=2))
    assert any(s.startswith("2 of 14 runs failed") for s in found)


def test_the_answer_is_plain_data(tmp_path):
    found = sentences(comparison(tmp_path, {"a": (A, 0.1), "b": (B, 0.1)}))
    assert json.loads(json.dumps(found)) == found
    assert all(text.endswith(".") for text in found)


@pytest.mark.parametrize("seeds", [1, 3])
def test_what_it_cost_is_said(tmp_path, seeds):
    found = sentences(comparison(tmp_path, {"a": (A, 0.1), "b": (B, 0.1)}, seeds=seeds))
    assert any("A run took 3 s" in text for text in found)
