"""What regular dictionary learning achieves: the baseline that needs no network."""

import torch
from torch import Tensor

from narrows.sparse.dictionary import learn_dictionary
from narrows.sparse.omp import omp


def linear_dictionary(
    train: Tensor, test: Tensor, size: int, k: int, epochs: int = 10, seed: int = 0
) -> dict[str, float]:
    """Error of k learned atoms, of k principal components and of k given atoms, on new examples.

    All three after subtracting the training mean, as shares of the test examples' variance
    about it. Sparse codes of a network that do not beat `learned` at equal k and size owe
    nothing to the network; `learned` that does not beat `pca` owes nothing to sparsity.

    Args:
        train: `[n, ...]`, flattened here: whole images, patches or vectors.
        test: other examples of the same shape.
        size: number of atoms.
        k: atoms per example (orthogonal matching pursuit).
        epochs: passes of dictionary learning.
        seed: of the first atoms and the batches.

    Returns:
        `learned`, `pca` and `data` (atoms that are training examples, not learned).

    Raises:
        ValueError: if there are fewer training examples than atoms, or the shapes differ.

    Source: Olshausen & Field (1996); learning as in Mairal et al. (2010).
    """
    if train.shape[1:] != test.shape[1:] or len(train) < size:
        raise ValueError(
            f"expected at least {size} training examples of the test examples' shape "
            f"{tuple(test.shape[1:])}, got {tuple(train.shape)}"
        )
    mean = train.flatten(1).double().mean(0)
    x, y = train.flatten(1).double() - mean, test.flatten(1).double() - mean
    energy = y.square().sum()
    if energy == 0:
        raise ValueError("all test examples equal the training mean: there is nothing to code")
    generator = torch.Generator().manual_seed(seed)
    directions = torch.linalg.svd(x, full_matrices=False).Vh[:k]
    found = learn_dictionary(
        x, size, lambda signals, atoms: omp(signals, atoms, k), epochs=epochs, seed=seed
    )
    own = x[torch.randperm(len(x), generator=generator)]
    own = own[own.norm(dim=1) > 0][:size]
    return {
        "learned": _left(y, found, k, energy),
        "pca": 1 - ((y @ directions.T).square().sum() / energy).item(),
        "data": _left(y, own / own.norm(dim=1, keepdim=True), k, energy),
    }


def _left(signals: Tensor, atoms: Tensor, k: int, energy: Tensor) -> float:
    return (2 * omp(signals, atoms, k).objective.sum() / energy).item()
