"""How much about the class a linear reader gets out of a whole code."""

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from narrows.metrics.probe import arrays

HELD = 4
"""One in so many training codes settles how far the reader is believed."""
_NEVER = -30.0  # log probability of a class that the reader has not met


def decodable_information(
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    *,
    shuffle: bool = False,
    seed: int = 0,
) -> float:
    r"""A lower bound of I(class; code) in nats, by what a linear reader can say of new examples.

    .. math:: I(c; z) \ge E[\log r(c | z) - \log f_c], \qquad
        r(c | z) \propto l(c | z)^s f_c^{1 - s}

    for any reader r, f being the classes' frequencies; here l is a logistic regression of
    standardised codes, and s in [0, 1], how far it is to be believed, is chosen on a quarter of
    the training codes that it was not fitted to. At most the classes' entropy, log 10 for ten
    equal ones; about 0 for a code that says nothing, also for one that merely differs from
    example to example, whose table of counts would make it look as if it said everything.

    Args:
        train: codes `[n, ...]`, flattened here.
        train_labels: `[n]`.
        test: codes of other examples; the bound holds in the mean over them.
        test_labels: theirs.
        shuffle: gives the training codes each other's labels: what chance alone gets.
        seed: of the quarter and the shuffle.

    Raises:
        ValueError: if a label is missing, a test class has no training example, or widths differ.

    Source: Barber & Agakov (2003), equation 2; with a family of readers that is less than all,
        the usable information of Xu et al. (2020), definition 2.
    """
    codes, labels, new, expected = arrays(train, train_labels, test, test_labels)
    if missing := sorted(set(expected.tolist()) - set(labels.tolist())):
        raise ValueError(
            f"decodable_information: test classes {missing} are not among the training classes; "
            "split so that each class is in both"
        )
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(codes))
    classes, answers = np.unique(labels, return_inverse=True)
    if shuffle:
        answers = generator.permutation(answers)
    prior = np.log(np.bincount(answers) / len(answers))
    held, fitted = order[: len(order) // HELD], order[len(order) // HELD :]
    read = _reader(codes[fitted], answers[fitted], len(classes))
    sure = _sureness(read(codes[held]), prior, answers[held])
    gain = _log_share(read(new), prior, sure) - prior
    return float(gain[np.arange(len(new)), np.searchsorted(classes, expected)].mean())


def _reader(codes: NDArray, answers: NDArray, kinds: int) -> Callable[[NDArray], NDArray]:
    """Log probability of every class, of a logistic regression."""
    if len(np.unique(answers)) < 2:
        return lambda new: np.zeros((len(new), kinds))
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    with warnings.catch_warnings():  # not all the way to the optimum is near enough here
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe.fit(codes, answers)

    def read(new: NDArray) -> NDArray:
        found = np.full((len(new), kinds), _NEVER)
        found[:, probe.classes_] = probe.predict_log_proba(new).clip(min=_NEVER)
        return found

    return read


def _log_share(read: NDArray, prior: NDArray, sure: float) -> NDArray:
    """The reader's log probabilities drawn towards the frequencies."""
    return log_softmax(sure * read + (1 - sure) * prior, axis=1)


def _sureness(read: NDArray, prior: NDArray, answers: NDArray) -> float:
    """What of the reader's word is to be believed, by examples that it has not seen."""
    if not len(answers):
        return 0.0
    steps = np.linspace(0, 1, 51)
    rows = np.arange(len(answers))
    said = [_log_share(read, prior, sure)[rows, answers].mean() for sure in steps]
    return float(steps[int(np.argmax(said))])
