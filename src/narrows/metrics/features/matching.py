"""Atoms beside other atoms: those of another seed, or the true features of a synthetic set."""

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import normalize

from narrows.codes import Atoms

FOUND = 0.7
"""Cosine from which a feature counts as found in another dictionary."""


def cosines(atoms: Tensor, others: Tensor, *, chunk: int = 4096) -> Tensor:
    """Cosine of each atom `[K, d]` with each other one `[M, d]`, `[K, M]`; 0 for zero atoms.

    Raises:
        ValueError: if the widths differ.
    """
    if atoms.dim() != 2 or others.dim() != 2 or atoms.shape[1] != others.shape[1]:
        raise ValueError(
            "expected two dictionaries [K, d] of one width, got "
            f"{tuple(atoms.shape)} and {tuple(others.shape)}"
        )
    left, right = (normalize(one.detach().cpu().float()) for one in (atoms, others))
    return torch.cat([part @ right.T for part in left.split(chunk)])


def nearest_cosines(atoms: Tensor, *, chunk: int = 4096) -> Tensor:
    """Largest |cosine| of each atom with another of the same dictionary, `[K]`.

    Compare with that of random atoms of the same number and width. High ones are copies, or a
    feature that was split.

    Args:
        atoms: `[K, d]`, at least two.
        chunk: atoms compared at a time.
    """
    if len(atoms) < 2:
        raise ValueError(f"expected at least two atoms, got {len(atoms)}")
    found = []
    for start in range(0, len(atoms), chunk):
        part = cosines(atoms[start : start + chunk], atoms).abs()
        own = torch.arange(len(part))
        part[own, own + start] = 0
        found.append(part.max(1).values)
    return torch.cat(found)


@dataclass(frozen=True)
class Matching:
    """A one-to-one matching of two dictionaries with the largest sum of |cosines|.

    Attributes:
        rows: atoms of the first, `[m]`, m the smaller of the two sizes.
        columns: their partners in the second.
        cosines: |cosine| of each pair.
    """

    rows: Tensor
    columns: Tensor
    cosines: Tensor

    @property
    def mean(self) -> float:
        """Mean |cosine| of the pairs: MCC where the second dictionary is the truth."""
        return self.cosines.mean().item()

    @property
    def found(self) -> float:
        """Share of the pairs with a |cosine| of at least 0.7."""
        return (self.cosines >= FOUND).double().mean().item()


def matching(atoms: Tensor, others: Tensor, *, signed: bool = False) -> Matching:
    """Pairs the atoms of two dictionaries one to one (Hungarian algorithm).

    Dictionaries of two seeds of one model say how much of it is the seed's: random ones of the
    same sizes say what matching alone gives.

    Args:
        atoms: `[K, d]`.
        others: `[M, d]`.
        signed: keep the cosine's sign, for codes that are never negative.

    Raises:
        ValueError: if the widths differ.

    Source: Paulo & Belrose (2025), "Sparse Autoencoders Trained on the Same Data Learn Different
        Features", section 3, whose threshold of 0.7 is `found`'s.

    Example:
        >>> matching(torch.eye(3), torch.eye(3)[[2, 0]]).rows.tolist()
        [0, 2]
    """
    table = cosines(atoms, others)
    table = table if signed else table.abs()
    rows, columns = (torch.from_numpy(one) for one in linear_sum_assignment(-table.numpy()))
    return Matching(rows, columns, table[rows, columns].double())


@dataclass(frozen=True)
class Recovery:
    """How far a dictionary has the true features of a synthetic set.

    Attributes:
        mcc: mean |cosine| of matched pairs; every atom or every feature has a partner.
        f1: mean over all true features of the F1 with which the partner's firing tells the
            feature's; 0 for a feature without a partner.
        uniqueness: different features among those nearest to each atom, over the atoms.
    """

    mcc: float
    f1: float
    uniqueness: float


def recovery(atoms: Tensor, truth: Tensor, *, code: Atoms, true_code: Tensor) -> Recovery:
    """Holds atoms against true features: MCC, F1 and uniqueness.

    Args:
        atoms: `[K, d]`.
        truth: true features `[M, d]`.
        code: of n examples, by the dictionary.
        true_code: what the same examples are made of, `[n, M]`, not 0 where a feature is active.

    Raises:
        ValueError: if shapes do not fit.

    Source: MCC and uniqueness as in the package SAELens (`sae_lens.synthetic`), written anew. F1 is
        the mean over features, so that a feature that is missed costs.
    """
    n = len(true_code)
    if true_code.shape != (n, len(truth)) or len(code.atoms) != n:
        raise ValueError(
            f"expected a true code [{len(code.atoms)}, {len(truth)}], got {tuple(true_code.shape)}"
        )
    pairs = matching(atoms, truth)
    nearest = cosines(atoms, truth).abs().argmax(1)
    fires = code.coefficients(len(atoms)) != 0
    mine, true = fires[:, pairs.rows], (true_code != 0)[:, pairs.columns]
    both = (mine & true).sum(0).double()
    f1 = 2 * both / (mine.sum(0) + true.sum(0)).clamp(min=1)
    return Recovery(pairs.mean, f1.sum().item() / len(truth), len(nearest.unique()) / len(atoms))
