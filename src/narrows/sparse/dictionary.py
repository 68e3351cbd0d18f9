"""Learning the dictionary: codes and atoms in turn."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from narrows.sparse.products import adjoint, combine
from narrows.sparse.solution import SparseSolution

Encode = Callable[[Tensor, Tensor], SparseSolution]
"""Signals and dictionary to codes, such as `lambda x, d: omp(x, d, 3)`."""

# An atom used by less than this share of what an even use would be is replaced.
_RARE = 0.1
# Two atoms this parallel do one atom's work.
_TWIN = 0.99


class Rule(ABC):
    """How a batch and its codes move the dictionary `[K, dim]`.

    Attributes:
        unit_free: whether signals and codes in another unit move it alike.
    """

    unit_free: bool = True

    @abstractmethod
    def __call__(self, dictionary: Tensor, signals: Tensor, solution: SparseSolution) -> Tensor:
        """The moved dictionary, not yet normalised."""


class Online(Rule):
    r"""Block coordinate descent on running sums of the batches (Mairal et al. 2010).

    .. math:: A \leftarrow \beta A + Z^T Z, \quad B \leftarrow \beta B + Z^T X, \quad
        d_j \leftarrow d_j + (B_j - A_j D) / A_{jj}

    Args:
        forget: beta, how much of the past is kept at each batch; the sums must follow the codes
            as the dictionary moves.

    Source:
        Mairal, Bach, Ponce and Sapiro 2010, "Online Learning for Matrix Factorization and
        Sparse Coding", algorithms 1 and 2; unit norm in place of norm at most 1.
    """

    def __init__(self, forget: float = 0.9) -> None:
        if not 0 <= forget < 1:
            raise ValueError(f"expected 0 <= forget < 1, got {forget}")
        self.forget = forget
        self.sums: tuple[Tensor, Tensor] | None = None

    def __call__(self, dictionary: Tensor, signals: Tensor, solution: SparseSolution) -> Tensor:
        """One pass over the atoms."""
        codes = solution.codes
        a, b = codes.T @ codes, codes.T @ signals
        if self.sums is not None:
            a, b = a + self.forget * self.sums[0], b + self.forget * self.sums[1]
        self.sums = (a, b)
        moved = dictionary.clone()
        for j in (a.diagonal() > 0).nonzero()[:, 0].tolist():
            atom = moved[j] + (b[j] - a[j] @ moved) / a[j, j]
            moved[j] = normalize(atom, dim=0)
        return moved


class MOD(Rule):
    """The least-squares dictionary for the batch's codes: D = (Z^T Z)^{-1} Z^T X.

    Meant for batches of all signals.

    Source:
        Engan, Aase and Husoy 1999, "Method of Optimal Directions".
    """

    def __call__(self, dictionary: Tensor, signals: Tensor, solution: SparseSolution) -> Tensor:
        """Unused atoms stay where they are."""
        codes = solution.codes
        used = (codes != 0).any(0)
        a, b = codes.T @ codes, codes.T @ signals
        # Atoms used only together have no least-squares solution of their own: a trace of ridge.
        slack = torch.finfo(a.dtype).eps * len(a) * a.diagonal().mean()
        a = a + torch.diag_embed((~used).to(a.dtype) + slack)
        solved = torch.cholesky_solve(b, torch.linalg.cholesky(a))
        return torch.where(used[:, None], solved, dictionary)


class Gradient(Rule):
    """A step against the gradient of 1/2 |x - z D|^2, averaged over the batch.

    Args:
        rate: step size.

    Source:
        Olshausen and Field 1996, equation 5.
    """

    unit_free = False

    def __init__(self, rate: float = 0.5) -> None:
        if not rate > 0:
            raise ValueError(f"expected a step size > 0, got {rate}")
        self.rate = rate

    def __call__(self, dictionary: Tensor, signals: Tensor, solution: SparseSolution) -> Tensor:
        """One step."""
        residual = signals - combine(solution.atoms, solution.values, dictionary=dictionary)
        step = adjoint(solution.atoms, solution.values, residual, len(dictionary))
        return dictionary + self.rate / max(len(signals), 1) * step


def learn_dictionary(
    signals: Tensor,
    size: int,
    *,
    encode: Encode,
    rule: Rule | None = None,
    epochs: int = 30,
    batch: int | None = 256,
    seed: int = 0,
) -> Tensor:
    """Learns unit-norm atoms over which the signals are sparse.

    Codes and atoms take turns, batch by batch. After each epoch, atoms that are rarely used, or
    nearly parallel to another, are replaced by the worst-coded signals of the epoch: local
    minima of dictionary learning are mostly duplicated atoms.

    Task-driven learning is the same dictionary trained through `differentiate`, by the gradient
    of any loss of the codes.

    Args:
        signals: `[n, dim]`, float32 or float64.
        size: number of atoms K.
        encode: signals and dictionary to codes.
        rule: `Online()` by default, `MOD()` or `Gradient(rate)`.
        epochs: passes over the signals.
        batch: signals at a time; all of them if None.
        seed: of the starting atoms and of the order.

    Returns:
        The dictionary `[K, dim]`.

    Raises:
        ValueError: if there are no signals, or a number is out of range.

    Source:
        See the rules; replacement as in Aharon, Elad and Bruckstein 2006 (K-SVD), section IV-C.

    Example:
        >>> from narrows.sparse import omp
        >>> signals = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
        >>> learn_dictionary(signals, 12, encode=lambda x, d: omp(x, d, k=2), epochs=2).shape
        torch.Size([12, 8])
    """
    if signals.dim() != 2 or len(signals) == 0 or size < 1 or epochs < 0:
        raise ValueError(
            f"expected signals [n, dim] with n >= 1, size >= 1 and epochs >= 0, got "
            f"{tuple(signals.shape)}, size={size}, epochs={epochs}"
        )
    if batch is not None and batch < 1:
        raise ValueError(f"expected a batch of at least 1 signal, got {batch}")
    rule = rule if rule is not None else Online()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        # Squares of very small or large signals have no digits.
        unit = power_of_two(signals) if rule.unit_free else 1.0
        scaled = signals / unit
        dictionary = draw_atoms(scaled, size, generator)
        for epoch in range(epochs):
            order = torch.randperm(len(signals), generator=generator).to(signals.device)
            uses, errors = signals.new_zeros(size), signals.new_zeros(len(signals))
            for rows in order.split(batch or len(signals)):
                solution = encode(signals[rows], dictionary)
                uses += torch.bincount(solution.atoms[solution.values != 0], minlength=size)
                errors[rows] = solution.objective / unit / unit
                solution = replace(solution, values=solution.values / unit)
                moved = rule(dictionary, scaled[rows], solution)
                dictionary = normalize(
                    torch.where(moved.norm(dim=1)[:, None] > 0, moved, dictionary)
                )
            if epoch < epochs - 1:  # what is new needs an epoch to settle
                dictionary = replace_idle(dictionary, scaled, uses, errors)
    return dictionary


def power_of_two(signals: Tensor) -> float:
    """The power of two just below the largest entry: dividing by it rounds nothing; 1 for zeros."""
    largest = float(signals.abs().max()) if signals.numel() else 0.0
    return 2.0 ** math.floor(math.log2(largest)) if 0 < largest < math.inf else 1.0


def draw_atoms(signals: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Unit-norm atoms: distinct signals, then random directions where there are too few.

    Signals are taken at the scale of their largest entry; smaller ones than 1e-12 of it are none.
    """
    signals = signals / power_of_two(signals)
    atoms = torch.randn(size, signals.shape[1], generator=generator).to(signals)
    usable = signals[signals.norm(dim=1) > 1e-12]
    order = torch.randperm(len(usable), generator=generator)[:size].to(signals.device)
    atoms[: len(order)] = usable[order]
    return normalize(atoms, dim=1)


def replace_idle(dictionary: Tensor, signals: Tensor, uses: Tensor, errors: Tensor) -> Tensor:
    """Puts the worst-coded signals in place of rarely used atoms and of all but one twin.

    Uses `[K]` say how often each atom was active, errors `[n]` are those of the signals.
    """
    parallel = (dictionary @ dictionary.T).abs().tril(-1) > _TWIN
    idle = (uses < _RARE * uses.mean()) | parallel.any(1)
    worst = errors.argsort(descending=True)
    worst = worst[errors[worst] > 1e-6 * signals.square().sum(-1)[worst]][: int(idle.sum())]
    spots = idle.nonzero()[: len(worst), 0]
    renewed = dictionary.clone()
    renewed[spots] = normalize(signals[worst], dim=1)
    return renewed
