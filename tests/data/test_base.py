import numpy as np
import pytest
import torch

from narrows.data import Dataset, Split
from narrows.data.mapped import MappedSplit


def _split(n: int = 6, seed: int = 0) -> Split:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 3, 4, 5), dtype=torch.uint8, generator=generator)
    return Split(images, torch.arange(n))


def test_a_batch_is_the_asked_rows_divided_by_255():
    split = _split()
    index = torch.tensor([4, 0, 4])
    batch = split.batch(index)
    assert batch.dtype == torch.float32
    np.testing.assert_array_equal(batch.numpy(), split.images.numpy()[[4, 0, 4]] / np.float32(255))
    assert split.batch_labels(index).tolist() == [4, 0, 4]


def test_cutting_a_batch_leaves_the_stored_images_alone():
    split = Split(torch.rand(6, 1, 2, 2))
    before = split.images.clone()
    split.batch(torch.arange(6)).mul_(0)
    assert torch.equal(split.images, before)


def test_variance_is_the_scalar_variance_over_all_values_in_unit_range():
    train = _split(50)
    data = Dataset("d", train, _split(), _split())
    assert data.variance == pytest.approx(np.var(train.images.numpy() / 255.0), rel=1e-12)
    # Not the mean of per-pixel variances, which is what a per-axis variance would give.
    assert data.variance != pytest.approx(np.var(train.images.numpy() / 255.0, axis=0).mean())


def test_variance_of_vectors_is_taken_about_each_feature_in_their_own_units():
    vectors = torch.randn(40, 7) * 3 + 100
    data = Dataset("d", Split(vectors), Split(vectors[:2]), Split(vectors[:2]))
    assert data.variance == pytest.approx(np.var(vectors.numpy().astype(np.float64), 0).mean())
    assert data.levels is None
    assert data.shape == (7,)


def test_dimensions_and_levels_describe_eight_bit_images():
    data = Dataset("d", _split(), _split(), _split())
    assert (data.shape, data.dimensions, data.levels) == ((3, 4, 5), 60, 256)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(3, 4, 4, dtype=torch.uint8), None, "expected images"),
        (torch.zeros(3, 1, 4, 4, dtype=torch.float64), None, "uint8 or float32"),
        (torch.zeros(3, 1, 4, 4), torch.zeros(4, dtype=torch.int64), "one label for each"),
    ],
)
def test_a_split_that_cannot_be_trained_on_is_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        Split(images, labels)


def test_splits_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="all must agree"):
        Dataset("d", _split(), _split(), Split(torch.zeros(3, 1, 4, 4)))


def test_printing_a_data_set_is_one_line_and_reads_no_examples(monkeypatch):
    images = torch.zeros(5, 1, 2, 3, dtype=torch.uint8)
    split = Split(images, torch.zeros(5, dtype=torch.int64))
    data = Dataset("tiny", split, split.head(2), split.head(1))
    assert repr(data) == "Dataset('tiny', (1, 2, 3), torch.uint8, train=5, validation=2, test=1)"
    assert repr(split) == "Split(5 x (1, 2, 3), torch.uint8, labels)"
    mapped = MappedSplit(images, torch.arange(3))
    monkeypatch.delattr(MappedSplit, "images")
    assert repr(mapped) == "MappedSplit(3 x (1, 2, 3), torch.uint8)"


def test_the_fingerprint_follows_every_example_and_label():
    def data(seed=0, labels=True, test=0):
        train = _split(9, seed)
        return Dataset("d", train if labels else Split(train.images), _split(3, 1), _split(4, test))

    others = (data(), data(1), data(labels=False), data(test=5))
    assert len({one.fingerprint for one in others}) == 4
    mapped = MappedSplit(_split(9).images, torch.arange(9), labels=torch.arange(9))
    assert Dataset("d", mapped, _split(3, 1), _split(4)).fingerprint == data().fingerprint
