"""Do sparse atoms explain the vectors of another code?"""

import torch
from torch import Tensor

from narrows.sparse.dictionary import learn_dictionary
from narrows.sparse.omp import omp


def explained_by_atoms(vectors: Tensor, atoms: Tensor, k: int, seed: int = 0) -> dict[str, float]:
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
        "atoms": _explained(vectors, atoms, k),
        "random": _explained(vectors, draws @ (svd.S[:, None] * svd.Vh), k),
        "pca": (svd.S[:k].square().sum() / energy).item(),
    }


def explained_by_learned_atoms(
    train: Tensor, test: Tensor, size: int, k: int, seed: int = 0
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
        train - mean, size, lambda signals, atoms: omp(signals, atoms, k), epochs=8, seed=seed
    )
    return explained_by_atoms(test - mean, atoms, k, seed)


def _explained(vectors: Tensor, atoms: Tensor, k: int) -> float:
    left = 2 * omp(vectors, atoms / atoms.norm(dim=1, keepdim=True), k).objective.sum()
    return 1 - (left / vectors.square().sum()).item()
