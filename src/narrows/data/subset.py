"""A part of a data set, for a comparison that should end today."""

from dataclasses import replace

import torch

from narrows.data.base import Dataset, Split


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
    said = [
        f"{len(part):,} {kind} examples"
        for part, whole, kind in ((train, data.train, "training"), (test, data.test, "test"))
        if len(part) < len(whole)
    ]
    name = f"{data.name} ({', '.join(said)})" if said else data.name
    return replace(data, name=name, train=train, validation=held, test=test)


def _some(split: Split, count: int | None) -> Split:
    """Rows drawn without replacement, in their order: a folder's first rows are one class."""
    if count is None or count >= len(split):
        return split
    rows = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))[:count]
    rows = rows.sort().values
    return Split(split.stored(rows), split.batch_labels(rows))
