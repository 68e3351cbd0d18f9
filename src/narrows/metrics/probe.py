"""What a simple reader can tell from a code."""

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor


def linear_probe(
    train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, penalty: float = 1.0
) -> float:
    """Test accuracy of a logistic regression on standardised codes.

    Args:
        train: codes `[n, ...]`, flattened here; z rather than indices, whose numbers mean
            nothing to a linear reader.
        train_labels: `[n]`.
        test: codes of other examples.
        test_labels: theirs.
        penalty: weight of the squared coefficients; choose it on validation data.
    """
    codes, answers, new, expected = arrays(train, train_labels, test, test_labels)
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=1 / penalty, max_iter=1000))
    with warnings.catch_warnings():  # not all the way to the optimum is near enough here
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe.fit(codes, answers)
    return float(probe.score(new, expected))


def knn_probe(
    train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, k: int = 5
) -> float:
    """Test accuracy of the k nearest training codes' majority.

    It reads distances as they are: unlike the linear probe it loses to loud useless dimensions.

    Args:
        train: codes `[n, ...]`, flattened here.
        train_labels: `[n]`.
        test: codes of other examples.
        test_labels: theirs.
        k: neighbours.
    """
    codes, answers, new, expected = arrays(train, train_labels, test, test_labels)
    return float(KNeighborsClassifier(k).fit(codes, answers).score(new, expected))


def baselines(
    train: Tensor, test: Tensor, d: int, seed: int = 0
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
    x, _, y, _ = arrays(train, torch.zeros(len(train)), test, torch.zeros(len(test)))
    pca = PCA(min(d, *x.shape), svd_solver="full").fit(x)
    directions = np.random.default_rng(seed).normal(size=(x.shape[1], d)) / x.shape[1] ** 0.5
    mean = x.mean(0)
    return {
        "raw": (torch.from_numpy(x), torch.from_numpy(y)),
        "pca": (torch.from_numpy(pca.transform(x)), torch.from_numpy(pca.transform(y))),
        "random": (
            torch.from_numpy(np.maximum((x - mean) @ directions, 0)),
            torch.from_numpy(np.maximum((y - mean) @ directions, 0)),
        ),
    }


def arrays(
    train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Flat float64 codes and labels.

    Raises:
        ValueError: if a label is missing, or train and test codes differ in width.
    """
    for codes, labels in ((train, train_labels), (test, test_labels)):
        if len(codes) != len(labels):
            raise ValueError(f"expected a label for each of {len(codes)} codes, got {len(labels)}")
    if train.shape[1:] != test.shape[1:]:
        raise ValueError(
            f"expected test codes of shape {tuple(train.shape[1:])}, got {tuple(test.shape[1:])}"
        )
    x, y = (codes.detach().cpu().double().flatten(1).numpy() for codes in (train, test))
    return x, train_labels.cpu().numpy(), y, test_labels.cpu().numpy()
