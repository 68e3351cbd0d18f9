"""Quadratic or exponential: planted laws are told apart, indistinct ones are not."""

import numpy as np
import pytest
import torch

from narrows.functional.kmeans import kmeans, kmeans_plus_plus
from narrows.functional.nearest import nearest
from reproductions.codebook import growth, size_for


def test_a_quadratic_law_is_found_exactly():
    found = growth([2, 4, 8, 16], [12, 48, 192, 768])
    assert found["power"] == pytest.approx(2)
    assert found["residual_power"] == pytest.approx(0, abs=1e-12)
    assert found["advantage"] > 5


def test_an_exponential_law_is_found_exactly():
    found = growth([2, 4, 6, 8], [2.0**d for d in (2, 4, 6, 8)])
    assert found["rate"] == pytest.approx(np.log(2))
    assert found["advantage"] < -5


def test_three_neighbouring_dimensions_mislead_whatever_the_law():
    """Documented: over so short a range both laws fit to a few percent."""
    found = growth([8, 9, 10], [2.0**d for d in (8, 9, 10)])
    assert found["residual_power"] < 0.03


def test_one_code_in_reserve_for_all_dimensions_is_no_growth():
    found = growth([2, 4, 8], [7, 7, 7])
    assert found["power"] == pytest.approx(0, abs=1e-12)
    assert found["advantage"] == pytest.approx(0, abs=0.1)


def test_codes_for_a_uniform_cube_grow_exponentially():
    """K-means on uniform cubes at one relative distortion: known to need about c^D codes."""
    dimensions, needed = [1, 2, 3, 4], []
    for d in dimensions:
        generator = torch.Generator().manual_seed(d)
        rows = torch.rand(2000, d, generator=generator, dtype=torch.float64)
        sizes, errors = [2, 4, 8, 16, 32, 64, 128], []
        for size in sizes:
            centres, _ = kmeans(rows, kmeans_plus_plus(rows, size, generator), 10)
            left = (rows - centres[nearest(rows, centres)]).square().sum()
            errors.append((left / (rows - rows.mean(0)).square().sum()).item())
        needed.append(size_for(sizes, errors, target=0.2))
    found = growth(dimensions, needed)
    assert found["advantage"] > 0 or found["rate"] > 0.5  # by D = 4 both laws are near
    assert needed[-1] > 8 * needed[0]


def test_the_size_for_a_distortion_lies_on_the_line_between_logarithms():
    sizes, distortions = [4, 16, 64], [0.4, 0.1, 0.025]  # distortion = 1.6 / size
    assert size_for(sizes, distortions, target=0.2) == pytest.approx(8)
    assert size_for(sizes, distortions, target=0.01) is None
    assert size_for(sizes, distortions, target=0.5) is None


def test_a_size_that_made_it_worse_counts_for_nothing():
    assert size_for([4, 16, 64], [0.4, 0.8, 0.1], target=0.3) == pytest.approx(
        size_for([4, 64], [0.4, 0.1], target=0.3)
    )


def test_too_little_to_go_on_is_refused():
    with pytest.raises(ValueError, match="three different dimensions"):
        growth([2, 4], [3, 5])
    with pytest.raises(ValueError, match="three different dimensions"):
        growth([2, 4, 8], [3, 5, 0])
    with pytest.raises(ValueError, match="at least two sizes"):
        size_for([4], [0.1], target=0.2)
