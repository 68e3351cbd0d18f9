"""Recipes compared where their curves meet, and nowhere else."""

import math

import pytest

from narrows.compare.equal_rate import (
    hull,
    nearest_points,
    quality_at,
    savings,
    standings,
    target_rate,
)
from narrows.compare.pages.verdicts import _margin
from narrows.metrics.rate_curve import at_rate

# b has the lowest distortion of all points, but only because it spends more bits.
LOW = [(0.5, 20.0), (1.0, 24.0), (2.0, 28.0)]
HIGH = [(1.0, 22.0), (4.0, 30.0)]


def both(shift=0.0):
    """Curves of a and b for two seeds, the second `shift` dB higher."""
    return {
        label: {seed: [(r, q + seed * shift) for r, q in curve] for seed in (0, 1)}
        for label, curve in (("a", LOW), ("b", HIGH))
    }


def test_the_better_curve_wins_whatever_its_points():
    found = standings(both())
    assert found
    assert all(1 <= s.rate <= 2 for s in found), "only where both curves are"
    assert all(s.ranking() == ["a", "b"] for s in found)
    for s in found:
        assert s.mean("a") == pytest.approx(at_rate(LOW, s.rate))


def test_the_lead_is_paired_so_that_what_a_seed_does_to_both_does_not_count():
    lower, second, (mean, half) = _margin(standings(both(shift=5.0))[0].values, "a")
    assert second == "b"
    assert lower == pytest.approx(mean)
    assert mean > 1
    assert half == pytest.approx(0, abs=1e-9)


def test_a_recipe_with_one_rate_is_compared_at_that_rate_seed_by_seed():
    curves = {"a": {0: LOW, 1: LOW}, "vq": {0: [(0.9, 26.0)], 1: [(1.1, 26.0)]}}
    (found,) = standings(curves)
    assert found.whose == "vq"
    assert found.rate == pytest.approx(1.0)
    assert found.ranking()[0] == "vq"
    assert found.values["a"][0] == pytest.approx(at_rate(LOW, 0.9))
    assert found.values["a"][1] == pytest.approx(at_rate(LOW, 1.1))


def test_nothing_is_said_where_nobody_meets():
    apart = {"a": {0: [(0.1, 10.0)]}, "b": {0: [(5.0, 30.0)]}}
    assert standings(apart) == []
    assert target_rate(standings(apart)) is None
    assert quality_at(LOW, 0.4) is None
    assert quality_at(LOW, 2.1) is None
    assert quality_at([(1.0, 9.0)], 1.0005) == 9.0
    assert quality_at([(1.0, 9.0)], 1.002) is None


def test_a_recipe_that_misses_the_rate_with_one_seed_is_left_out():
    curves = both()
    curves["a"][1] = [(0.01, 5.0), (0.02, 6.0)]
    assert all("a" not in s.values for s in standings(curves))


def test_points_that_another_beats_are_left_out():
    assert hull([(1.0, 20.0), (2.0, 19.0), (3.0, 21.0), (3.0, 22.0)]) == [(1.0, 20.0), (3.0, 22.0)]


def test_pictures_are_of_the_points_nearest_to_the_common_rate():
    rates = {
        "a (k=1)": ("a", 0.5), "a (k=2)": ("a", 1.0), "a (k=4)": ("a", 2.0),
        "b (n=1)": ("b", 1.0), "b (n=2)": ("b", 4.0), "plain": ("plain", math.nan),
    }  # fmt: skip
    shown = nearest_points(rates, 1.2)
    assert shown == {"a": "a (k=2)", "b": "b (n=1)", "plain": "plain"}
    assert nearest_points(rates, 1.2, within=0.25) == {"a": "a (k=2)", "b": "b (n=1)"}
    assert nearest_points(rates, 1.3, within=0.25) == {}
    assert nearest_points(rates, None) == {"a": "a (k=1)", "b": "b (n=1)", "plain": "plain"}


def test_the_winner_changes_where_the_curves_cross():
    crossing = {"a": {0: [(1.0, 20.0), (8.0, 26.0)]}, "b": {0: [(1.0, 18.0), (8.0, 30.0)]}}
    first = [standing.ranking()[0] for standing in standings(crossing)]
    assert set(first) == {"a", "b"}
    assert first == sorted(first)


def test_nothing_is_interpolated_over_a_point_that_was_measured_to_be_worse():
    dented = [(1.0, 20.0), (2.0, 19.0), (4.0, 24.0), (8.0, 28.0)]
    assert quality_at(dented, 2.0) == 20.0, "the point at 1 bit is there for whoever has 2"
    assert quality_at(dented, 3.9) == 20.0
    assert quality_at(dented, 4.0) == 24.0
    assert 24.0 < quality_at(dented, 6.0) < 28.0
    whole = {"a": {0: [(1.0, 20.0), (8.0, 28.0)]}, "dented": {0: dented}}
    assert savings(whole, "a") == {}
    whole["dented"][0] = [*dented[:1], *dented[2:]]
    assert set(savings(whole, "a")) == {"dented"}


def test_lone_points_whose_rates_differ_are_not_ranked():
    """A few per cent more bits buy some tenths of a dB: not the same rate."""
    apart = {"a": {s: [(1.0, 24.0)] for s in (0, 1)}, "b": {s: [(1.04, 24.1)] for s in (0, 1)}}
    assert standings(apart) == []
    equal = {**apart, "b": {s: [(1.0, 24.1)] for s in (0, 1)}}
    assert {standing.rate for standing in standings(equal)} == {1.0}


def test_savings_are_the_bd_rates_over_seeds_where_the_curves_share_qualities():
    half = [(rate / 2, quality) for rate, quality in LOW]
    curves = {
        "a": {0: LOW, 1: LOW},
        "half": {0: half, 1: half},
        "one": {0: [(1.0, 24.0)], 1: [(1.0, 24.0)]},
        "apart": {0: [(1.0, 90.0), (2.0, 95.0)], 1: LOW},
    }
    found = savings(curves, "a")
    assert set(found) == {"half"}
    assert found["half"][0] == pytest.approx(-50)
    assert found["half"][1] == pytest.approx(0, abs=1e-9)
