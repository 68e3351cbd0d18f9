import numpy as np
import pytest
import torch

from narrows.data import load
from narrows.data.loaders.templates import draw, templates


def test_without_noise_two_numbers_say_everything():
    images, weights = draw(200, 10, 0.0, 0)
    basis = templates(10).reshape(2, -1)
    found, residual, rank, _ = np.linalg.lstsq(basis.T, images.reshape(200, -1).T, rcond=None)
    assert rank == 2
    assert residual.max() < 1e-24
    np.testing.assert_allclose(found.T, weights, atol=1e-12)


def test_noise_has_the_stated_deviation_where_nothing_is_clipped():
    noisy, weights = draw(4000, 10, 0.02, 0)
    clean = np.tensordot(weights, templates(10), 1)[:, None]
    inside = (clean > 0.1) & (clean < 0.9)
    # About 1.6e5 draws: the standard error of their deviation is 0.2 %.
    assert (noisy - clean)[inside].std() == pytest.approx(0.02, rel=0.01)


@pytest.mark.parametrize("size", [5, 10])
def test_the_data_set_has_document_001s_sizes(size):
    data = load("templates", size=size, n=600)
    assert data.shape == (1, size, size)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [400, 100, 100]
    batch = data.train.batch(torch.arange(400))
    assert 0 <= float(batch.min()) < float(batch.max()) <= 1


def test_the_label_is_the_template_that_weighs_more():
    data = load("templates", n=600, noise=0.0)
    basis = torch.from_numpy(templates(10)).float().reshape(2, -1)
    images = data.test.images.flatten(1)
    weights = torch.linalg.lstsq(basis.T, images.T).solution.T
    assert torch.equal((weights[:, 1] > weights[:, 0]).long(), data.test.labels)


def test_meaningless_sizes_are_refused():
    with pytest.raises(ValueError, match="size >= 3"):
        load("templates", size=2)
