"""A part of a data set says that it is one."""

import pytest
import torch

from narrows.data import load
from narrows.data.splitting import subset


def test_a_part_has_the_asked_numbers_and_says_so_in_its_name():
    data = load("digits", train_examples=200, test_examples=50)
    assert (len(data.train), len(data.validation), len(data.test)) == (200, 50, 50)
    assert data.name == "digits (200 training examples, 50 test examples)"
    assert data.origin.options == {"train_examples": 200, "test_examples": 50}
    assert len(data.train.labels.unique()) == 10


def test_its_examples_are_those_of_the_whole_in_order_and_the_same_every_time():
    whole, part = load("digits"), load("digits", train_examples=100)
    again = load("digits", train_examples=100)
    assert torch.equal(part.train.images, again.train.images)
    rows = {image.numpy().tobytes(): i for i, image in enumerate(whole.train.images)}
    found = [rows[image.numpy().tobytes()] for image in part.train.images]
    assert found == sorted(found)
    assert found != list(range(100)), "the first rows of a folder are one class"
    assert torch.equal(part.test.images, whole.test.images)


def test_asking_for_more_than_there_is_gives_the_whole_under_its_own_name():
    whole = load("digits")
    part = subset(whole, train_examples=10**6)
    assert part.name == whole.name
    assert part.train is whole.train


def test_an_option_can_be_guessed_and_a_number_below_one_is_refused():
    with pytest.raises(ValueError, match="did you mean 'train_examples'"):
        load("digits", train_example=5)
    with pytest.raises(ValueError, match="test_examples of at least 1"):
        load("digits", test_examples=0)
