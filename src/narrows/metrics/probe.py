"""What simple readers find in a code.

Scikit-learn takes a second to import, so that the readers import it where they need it.
"""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from torch import Tensor

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

Labelled = tuple[Tensor, Tensor]
"""Codes or data `[n, ...]`, and their labels `[n]`."""

Floats = NDArray[np.float64]
Classes = NDArray[np.int64]


def linear_probe(train: Labelled, test: Labelled, *, penalty: float = 1.0) -> float:
    """Test accuracy of a logistic regression on standardised codes.

    Args:
        train: codes `[n, ...]`, flattened here, and labels `[n]`; z rather than indices, whose
            numbers mean nothing to a linear reader.
        test: the same of other examples.
        penalty: weight of the squared coefficients; choose it on validation data.
    """
    codes, answers, new, expected = arrays(train, test)
    return float(_regression(codes, answers, penalty).score(new, expected))


def _regression(codes: Floats, answers: Classes, penalty: float = 1.0) -> "Pipeline":
    """A logistic regression of standardised codes, fitted."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(C=1 / penalty, max_iter=1000))
    with warnings.catch_warnings():  # not all the way to the optimum is near enough here
        warnings.simplefilter("ignore", ConvergenceWarning)
        return probe.fit(codes, answers)


def knn_probe(train: Labelled, test: Labelled, *, k: int = 5) -> float:
    """Test accuracy of the k nearest training codes' majority.

    It reads distances as they are: unlike the linear probe it loses to loud useless dimensions.

    Args:
        train: codes `[n, ...]`, flattened here, and labels `[n]`.
        test: the same of other examples.
        k: neighbours.
    """
    from sklearn.neighbors import KNeighborsClassifier

    codes, answers, new, expected = arrays(train, test)
    mean = codes.mean(0)  # brute-force search expands squares, which cancel far from the origin
    return float(KNeighborsClassifier(k).fit(codes - mean, answers).score(new - mean, expected))


def baselines(
    train: Tensor, test: Tensor, *, d: int, seed: int = 0
) -> dict[str, tuple[Tensor, Tensor]]:
    """Codes that took no training of a network, to hold a code's probe accuracy against.

    Args:
        train: data `[n, ...]`.
        test: data of other examples.
        d: width of the code in question.
        seed: of the random encoder.

    Returns:
        name -> (train codes, test codes): `raw`, the data themselves; `pca`, d principal
        components (as many as there are, if fewer); `random`, relu of d random projections of
        the centred data.
    """
    from sklearn.decomposition import PCA

    x, y = (part.detach().cpu().double().flatten(1).numpy() for part in (train, test))
    pca = PCA(min(d, *x.shape), svd_solver="full").fit(x)
    directions = np.random.default_rng(seed).normal(size=(x.shape[1], d)) / x.shape[1] ** 0.5
    mean = x.mean(0)
    codes: dict[str, Callable[[Floats], Floats]] = {
        "raw": lambda data: data,
        "pca": pca.transform,
        "random": lambda data: np.maximum((data - mean) @ directions, 0),
    }
    return {
        name: (torch.from_numpy(code(x)), torch.from_numpy(code(y))) for name, code in codes.items()
    }


def arrays(train: Labelled, test: Labelled) -> tuple[Floats, Classes, Floats, Classes]:
    """Flat float64 codes and labels.

    Raises:
        ValueError: if a label is missing, or train and test codes differ in width.
    """
    for codes, labels in (train, test):
        if len(codes) != len(labels):
            raise ValueError(f"expected a label for each of {len(codes)} codes, got {len(labels)}")
    shape, other = (tuple(codes.shape[1:]) for codes, _ in (train, test))
    if shape != other:
        raise ValueError(f"expected test codes of shape {shape}, got {other}")
    x, y = (codes.detach().cpu().double().flatten(1).numpy() for codes, _ in (train, test))
    return x, train[1].cpu().numpy(), y, test[1].cpu().numpy()


HELD = 4
"""One in so many training codes settles how far the reader is believed."""
_NEVER = -30.0  # log probability of a class that the reader has not met


def decodable_information(
    train: Labelled, test: Labelled, *, shuffle: bool = False, seed: int = 0
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
        train: codes `[n, ...]`, flattened here, and labels `[n]`.
        test: the same of other examples; the bound holds in the mean over them.
        shuffle: gives the training codes each other's labels: what chance alone gets.
        seed: of the quarter and the shuffle.

    Raises:
        ValueError: if a label is missing, a test class has no training example, or widths differ.

    Source: Barber & Agakov (2003), equation 2; with a family of readers that is less than all,
        the usable information of Xu et al. (2020), definition 2.
    """
    codes, labels, new, expected = arrays(train, test)
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


def _reader(codes: Floats, answers: Classes, kinds: int) -> Callable[[Floats], Floats]:
    """Log probability of every class, of a logistic regression."""
    if len(np.unique(answers)) < 2:
        return lambda new: np.zeros((len(new), kinds))
    probe = _regression(codes, answers)

    def read(new: Floats) -> Floats:
        found = np.full((len(new), kinds), _NEVER)
        found[:, probe.classes_] = probe.predict_log_proba(new).clip(min=_NEVER)
        return found

    return read


def _log_share(read: Floats, prior: Floats, sure: float) -> Floats:
    """The reader's log probabilities drawn towards the frequencies."""
    return log_softmax(sure * read + (1 - sure) * prior, axis=1)


def _sureness(read: Floats, prior: Floats, answers: Classes) -> float:
    """What of the reader's word is to be believed, by examples that it has not seen."""
    if not len(answers):
        return 0.0
    steps = np.linspace(0, 1, 51)
    rows = np.arange(len(answers))
    said = [_log_share(read, prior, sure)[rows, answers].mean() for sure in steps]
    return float(steps[int(np.argmax(said))])
