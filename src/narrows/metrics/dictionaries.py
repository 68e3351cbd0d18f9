"""Whether codes are few atoms, or lie on few subspaces."""

import torch
from torch import Tensor

from narrows.sparse.dictionary import learn_dictionary
from narrows.sparse.fista import fista
from narrows.sparse.omp import omp
from narrows.sparse.penalty import L1


def explained_by_atoms(
    vectors: Tensor, atoms: Tensor, *, k: int, seed: int = 0
) -> dict[str, float]:
    """Share of the vectors' energy that k atoms hold, beside two bases that know no atoms.

    Args:
        vectors: `[n, d]`, for instance a codebook, or the z of another model.
        atoms: `[K, d]`, a dictionary; scaled to unit norm here.
        k: atoms per vector.
        seed: of the random dictionary.

    Returns:
        `atoms`: 1 - |v - best found k-atom combination|^2 / |v|^2 over all vectors together;
        `random`: the same for K normal atoms with the vectors' second moments, which is what
        many directions alone achieve; `pca`: for the first k principal directions, one basis
        for all vectors. Atoms explain the vectors where they beat both.

    Raises:
        ValueError: if the widths differ, or all vectors are zero.
    """
    if vectors.dim() != 2 or vectors.shape[1:] != atoms.shape[1:]:
        raise ValueError(
            f"expected vectors and atoms of one width, got {tuple(vectors.shape)} and "
            f"{tuple(atoms.shape)}"
        )
    vectors, atoms = vectors.detach().cpu().double(), atoms.detach().cpu().double()
    energy = vectors.square().sum()
    if energy == 0:
        raise ValueError("all vectors are zero: there is nothing to explain")
    svd = torch.linalg.svd(vectors, full_matrices=False)
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randn(len(atoms), len(svd.S), generator=generator, dtype=torch.float64)
    return {
        "atoms": 1 - _left(vectors, _unit(atoms), k),
        "random": 1 - _left(vectors, _unit(draws @ (svd.S[:, None] * svd.Vh)), k),
        "pca": (svd.S[:k].square().sum() / energy).item(),
    }


def explained_by_learned_atoms(
    train: Tensor, test: Tensor, *, size: int, k: int, seed: int = 0
) -> dict[str, float]:
    """`explained_by_atoms` of new vectors by a dictionary learned from others of their kind.

    Args:
        train: `[n, d]`, from which `size` atoms are learned.
        test: `[m, d]`, explained by k of them each, all about the mean of the training vectors.
        size: number of atoms.
        k: atoms per vector, fewer than d.
        seed: of the learning and of the random dictionary.
    """
    mean = train.mean(0)
    atoms = learn_dictionary(
        train - mean,
        size,
        encode=lambda signals, atoms: omp(signals, atoms, k=k),
        epochs=8,
        seed=seed,
    )
    return explained_by_atoms(test - mean, atoms, k=k, seed=seed)


def linear_dictionary(
    train: Tensor, test: Tensor, *, size: int, k: int, epochs: int = 10, seed: int = 0
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
        x, size, encode=lambda signals, atoms: omp(signals, atoms, k=k), epochs=epochs, seed=seed
    )
    own = x[torch.randperm(len(x), generator=generator)]
    own = own[own.norm(dim=1) > 0][:size]
    return {
        "learned": _left(y, found, k),
        "pca": 1 - ((y @ directions.T).square().sum() / energy).item(),
        "data": _left(y, _unit(own), k),
    }


def _left(signals: Tensor, atoms: Tensor, k: int) -> float:
    """Share of the signals' energy that k unit atoms leave."""
    return (2 * omp(signals, atoms, k=k).objective.sum() / signals.square().sum()).item()


COMPANY = L1(0.3, relative=True, ridge=0.1)
"""Found three planted mixtures of subspaces with and without noise, and many around it did."""


def self_expression(codes: Tensor, k: int = 3, *, seed: int = 0) -> dict[str, float]:
    """How well k codes combine to another one, against normal codes of the same covariance.

    In a union of s-dimensional subspaces a code is a combination of s others from its own
    subspace, whatever the number of subspaces; codes from one normal distribution have no such
    company. Codes are split in two halves, each of which is written in the other's.

    Args:
        codes: `[n, d]`, about their own origin: subspaces contain 0.
        k: codes combined, the largest subspace dimension looked for.
        seed: of the split and of the normal codes.

    Returns:
        `residual`: squared norm left over, as a share of the codes'; `normal`: the same for
        normal codes with the same second moments; `ratio` of the two: near 1 where nothing but
        the covariance is at work, near 0 in a union of subspaces. Tight clusters also give a
        low ratio: each is a subspace of one dimension, its ray.

    Raises:
        ValueError: unless there are codes enough for two halves of k.

    Source: Elhamifar & Vidal (2013), equation 5, with orthogonal matching pursuit in the place
        of the lasso (Dyer, Sankaranarayanan & Baraniuk 2013); the comparison is ours.
    """
    generator = torch.Generator().manual_seed(seed)
    first, second = _halves(codes, k, generator)
    root = torch.linalg.svd(torch.cat([first, second]), full_matrices=False)
    scale = (root.S / len(codes) ** 0.5)[:, None] * root.Vh
    normal = torch.randn(len(codes), len(scale), generator=generator, dtype=first.dtype) @ scale
    found = _left_over(first, second, k)
    reference = _left_over(normal[: len(first)], normal[len(first) :], k)
    return {"residual": found, "normal": reference, "ratio": found / reference}


def subspace_clusters(codes: Tensor, clusters: int, *, seed: int = 0) -> Tensor:
    """Groups codes by the company they are written in, `[n]` cluster numbers.

    Spectral clustering of the graph whose edges are the sizes of the coefficients with which a
    code is an elastic-net combination of those of the other half: the lasso's part keeps to
    the code's own subspace, the ridge's spreads over it, so that it does not fall to pieces.

    Args:
        codes: `[n, d]`.
        clusters: number of subspaces.
        seed: of the split and the clustering.

    Source: You, Li, Robinson & Vidal (2016), equation 2; Elhamifar & Vidal (2013), algorithm 1;
        on two halves.
    """
    from sklearn.cluster import SpectralClustering  # a second to import; no step needs it

    first, second = _halves(codes, 1, torch.Generator().manual_seed(seed))
    n = len(first)
    graph = torch.zeros(len(codes), len(codes), dtype=first.dtype)
    graph[:n, n:] = fista(_unit(first), _unit(second), penalty=COMPANY).codes.abs()
    graph[n:, :n] = fista(_unit(second), _unit(first), penalty=COMPANY).codes.abs()
    # A trace of weight everywhere keeps the graph in one piece, as the solver wants it.
    affinity = (graph + graph.mT + 1e-6).numpy()
    found = SpectralClustering(clusters, affinity="precomputed", random_state=seed).fit(affinity)
    order = torch.randperm(len(codes), generator=torch.Generator().manual_seed(seed))
    return torch.from_numpy(found.labels_).long()[order.argsort()]


def _halves(codes: Tensor, k: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two random halves of the codes, in float64."""
    if codes.dim() != 2 or len(codes) < 2 * k:
        raise ValueError(f"expected at least {2 * k} codes [n, d], got shape {tuple(codes.shape)}")
    codes = codes.detach().cpu().double()
    codes = codes[torch.randperm(len(codes), generator=generator)]
    return codes[: len(codes) // 2], codes[len(codes) // 2 :]


def _unit(codes: Tensor) -> Tensor:
    """Codes at unit norm; a zero code gets an arbitrary direction."""
    norms = codes.norm(dim=1, keepdim=True)
    fallback = torch.zeros_like(codes)
    fallback[:, 0] = 1
    return torch.where(norms > 0, codes / norms, fallback)


def _left_over(first: Tensor, second: Tensor, k: int) -> float:
    """Mean share of a unit code's energy that k codes of the other half leave."""
    first, second = _unit(first), _unit(second)
    parts = [omp(a, b, k=k).objective * 2 for a, b in ((first, second), (second, first))]
    return torch.cat(parts).mean().item()
