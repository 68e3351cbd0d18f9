"""Which examples are for training, for validation and for test; parts of a data set."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from narrows.data.dataset import Dataset, Split

Rows = NDArray[np.int64]
"""Numbers of examples, or of their classes."""


def split_rows(
    n: int, sizes: tuple[int, int], seed: int, labels: Rows | None = None
) -> tuple[Rows, Rows, Rows]:
    """Rows of training, validation and test, each sorted; stratified where there are labels.

    Every class gives each part its share up to rounding: within a class rows are shuffled, and
    each is placed at its quantile; cutting all rows by quantile cuts every class alike.

    Args:
        n: number of examples.
        sizes: numbers of validation and test examples; the rest is for training.
        seed: of the shuffle.
        labels: `[n]` classes, or None for a plain shuffle.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(n)
    if labels is not None:
        quantile = np.empty(n)
        for label in np.unique(labels):
            rows = order[labels[order] == label]
            quantile[rows] = (np.arange(len(rows)) + random.random()) / len(rows)
        order = order[np.argsort(quantile[order], kind="stable")]
    validation, test = sizes
    held, tested = order[:validation], order[validation : validation + test]
    return np.sort(order[validation + test :]), np.sort(held), np.sort(tested)


def set_aside(train: Split, validation: int) -> tuple[Split, Split]:
    """Divides published training examples into those for training and those for validation.

    Stratified, by seed 0 whatever the seed of a run, so that runs can be compared.

    Raises:
        ValueError: if that leaves none for one of the two.
    """
    if not 0 < validation < len(train):
        raise ValueError(
            f"expected between 1 and {len(train) - 1} examples for validation, got {validation}"
        )
    labels = None if train.labels is None else train.labels.numpy()
    rows, held, _ = split_rows(len(train), (validation, 0), 0, labels)
    return train.take(torch.from_numpy(rows)), train.take(torch.from_numpy(held))


def subset(
    data: Dataset, train_examples: int | None = None, test_examples: int | None = None
) -> Dataset:
    """The same data set with fewer examples, drawn with a fixed seed; its name says so.

    Args:
        data: the whole.
        train_examples: at most this many for training.
        test_examples: at most this many for validation, and for test.

    Raises:
        ValueError: if a number is below 1.

    Example:
        >>> import narrows as nw
        >>> subset(nw.data.load("digits"), train_examples=200).name
        'digits (200 training examples)'
    """
    for name, count in (("train_examples", train_examples), ("test_examples", test_examples)):
        if count is not None and count < 1:
            raise ValueError(f"expected {name} of at least 1, got {count}")
    train = _some(data.train, train_examples)
    held, test = _some(data.validation, test_examples), _some(data.test, test_examples)
    fewer = [
        f"{len(part):,} {kind} examples"
        for part, whole, kind in ((train, data.train, "training"), (test, data.test, "test"))
        if len(part) < len(whole)
    ]
    name = f"{data.name} ({', '.join(fewer)})" if fewer else data.name
    return replace(data, name=name, train=train, validation=held, test=test)


def _some(split: Split, count: int | None) -> Split:
    """Rows drawn without replacement, in their order: a folder's first rows are one class."""
    if count is None or count >= len(split):
        return split
    rows = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))[:count]
    return split.take(rows.sort().values)
