import numpy as np
import torch
from sklearn.datasets import load_digits

from narrows.data import load


def test_digits_are_scikit_learns_images_split_once():
    data = load("digits")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [1257, 180, 360]
    assert data.shape == (1, 8, 8)
    pixels, target = load_digits(return_X_y=True)
    ours = torch.cat([data.train.images, data.validation.images, data.test.images])
    labels = torch.cat([data.train.labels, data.validation.labels, data.test.labels])
    known = sorted((tuple(row), int(label)) for row, label in zip(pixels, target, strict=True))
    back = np.rint(ours.view(-1, 64).numpy() * (16 / 255))
    found = sorted((tuple(row), int(label)) for row, label in zip(back, labels, strict=True))
    assert found == known


def test_every_part_of_digits_holds_every_class_in_proportion():
    data = load("digits")
    whole = np.bincount(load_digits(return_X_y=True)[1]) / 1797
    for part in (data.train, data.validation, data.test):
        counts = np.bincount(part.labels.numpy(), minlength=10)
        assert np.abs(counts - whole * len(part)).max() <= 1.5


def test_the_split_of_digits_is_the_same_every_time():
    assert torch.equal(load("digits").test.images, load("digits").test.images)
