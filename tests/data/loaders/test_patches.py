from itertools import pairwise

import numpy as np
import pytest
import torch

from narrows.data import load
from narrows.data.loaders.patches import _photographs, whitened


def _slope(picture):
    """Slope of log amplitude against log frequency, over the middle frequencies."""
    amplitude = np.abs(np.fft.fft2(picture - picture.mean()))
    rows, columns = picture.shape
    f = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(columns)[None])
    edges = np.geomspace(0.02, 0.25, 12)
    bins = list(pairwise(edges))
    means = [amplitude[(f >= low) & (f < high)].mean() for low, high in bins]
    return np.polyfit(np.log([low for low, _ in bins]), np.log(means), 1)[0]


def test_natural_amplitude_falls_as_one_over_frequency_and_whitening_flattens_it():
    for picture in _photographs("scikit-learn"):
        assert -1.8 < _slope(picture) < -0.8
        assert abs(_slope(whitened(picture))) < 0.65


def test_whitened_patches_are_vectors_of_unit_variance_with_heavy_tails():
    data = load("patches", n=6000)
    assert data.shape == (64,)
    values = data.train.images
    assert float(values.std()) == pytest.approx(1, abs=1e-3)
    kurtosis = float((values - values.mean()).pow(4).mean() / values.var() ** 2)
    assert kurtosis > 4  # 3 for a normal distribution: natural images are sparse


def test_plain_patches_are_eight_bit_images():
    data = load("patches", n=600, whiten=False, size=12)
    assert (data.shape, data.levels) == ((1, 12, 12), 256)


def test_splits_do_not_share_a_patch():
    data = load("patches", n=3000, whiten=False, size=8)
    seen = [set(map(bytes, part.images.flatten(1).numpy())) for part in (data.train, data.test)]
    assert not seen[0] & seen[1]


def test_the_same_seed_cuts_the_same_patches():
    first, second = load("patches", n=600, seed=1), load("patches", n=600, seed=1)
    assert torch.equal(first.train.images, second.train.images)


def test_scikit_images_photographs_serve_too():
    pytest.importorskip("skimage")
    assert "8 photographs" in load("patches", n=600, photographs="scikit-image").note


def test_meaningless_options_are_refused():
    with pytest.raises(ValueError, match="2 <= size <= 96"):
        load("patches", size=97)
    with pytest.raises(ValueError, match="scikit-learn or scikit-image"):
        load("patches", photographs="mine")
