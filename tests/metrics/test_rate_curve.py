"""Curves that differ by a known factor."""

import math

import pytest

from narrows.metrics.rate_curve import at_rate, bd_quality, bd_rate

CURVE = [(bits, 20 + 6 * math.log2(bits)) for bits in (0.25, 0.5, 1.0, 2.0)]


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.0, 1.25])
def test_the_same_quality_for_a_factor_of_the_bits_is_that_many_percent(factor):
    other = [(factor * bits, quality) for bits, quality in CURVE]
    assert bd_rate(CURVE, other) == pytest.approx(100 * (factor - 1))


def test_a_constant_gain_in_quality_is_found_and_swaps_its_sign():
    better = [(bits, quality + 1.5) for bits, quality in CURVE]
    assert bd_quality(CURVE, better) == pytest.approx(1.5)
    assert bd_quality(better, CURVE) == pytest.approx(-1.5)
    assert bd_rate(CURVE, better) == pytest.approx(100 * (2 ** (-1.5 / 6) - 1))


def test_only_the_shared_part_counts():
    shifted = [(bits, 20 + 6 * math.log2(bits) + 2) for bits in (1.0, 2.0, 4.0, 8.0)]
    assert bd_quality(CURVE, shifted) == pytest.approx(2)


def test_the_order_of_the_points_does_not_matter():
    assert (
        at_rate(CURVE[::-1], 0.7) == at_rate(CURVE, 0.7) == pytest.approx(20 + 6 * math.log2(0.7))
    )


def test_nothing_is_extrapolated():
    with pytest.raises(ValueError, match=r"within the measured 0.25 to 2 bits, got 3"):
        at_rate(CURVE, 3)
    far = [(bits * 100, quality + 100) for bits, quality in CURVE]
    with pytest.raises(ValueError, match="share no qualities"):
        bd_rate(CURVE, far)
    with pytest.raises(ValueError, match="share no rates"):
        bd_quality(CURVE, far)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([(1.0, 20.0)], "at least two"),
        ([(0.0, 10.0), (1.0, 20.0)], "positive bits"),
        ([(0.5, 20.0), (1.0, 19.0), (2.0, 25.0)], "quality to rise"),
        ([(1.0, 20.0), (1.0, 21.0)], "quality to rise"),
        ([(0.5, float("nan")), (1.0, 19.0)], "finite"),
    ],
)
def test_what_is_no_curve_is_refused(points, message):
    with pytest.raises(ValueError, match=message):
        bd_rate(CURVE, points)
