"""One pass gives what several would."""

import numpy as np
import pytest
import torch

from narrows.data import statistics as module
from narrows.data.dataset import Split
from narrows.data.statistics import statistics


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e7])
@pytest.mark.parametrize("features", [0, 1])
def test_moments_of_parts_combine_to_those_of_the_whole(offset, features, monkeypatch):
    values = np.random.default_rng(0).normal(size=(101, 3, 4)).astype(np.float32) + np.float32(
        offset
    )
    monkeypatch.setattr(module, "_CHUNK", 12 * 7)  # 15 parts, the last smaller
    found = statistics(Split(torch.from_numpy(values), None, features))
    axes = (0, 2 - features)
    double = values.astype(np.float64)
    np.testing.assert_allclose(found.mean, double.mean(axes), rtol=1e-13)
    np.testing.assert_allclose(found.variance, double.var(axes), rtol=1e-9)


def test_levels_and_parts_give_the_same_variance_and_digest_as_one_part(monkeypatch):
    images = torch.randint(0, 256, (50, 1, 5, 5), dtype=torch.uint8)
    whole = statistics(Split(images))
    monkeypatch.setattr(module, "_CHUNK", 60)
    parts = statistics(Split(images))
    assert whole.digest.hexdigest() == parts.digest.hexdigest()
    assert torch.equal(whole.variance, parts.variance)
    assert float(whole.variance) == pytest.approx(np.var(images.numpy() / 255.0), rel=1e-12)
    floats = statistics(Split(images.float() / 255))
    assert float(floats.variance) == pytest.approx(float(whole.variance), rel=1e-6)
