"""Codes of the atoms most correlated with a signal, each signal alone or a batch together."""

import torch
from torch import Tensor

from narrows.bottlenecks.sparse.coder import (
    Coder,
    Problem,
    Usage,
    check_k,
    check_refit,
    check_spanned,
)
from narrows.bottlenecks.sparse.form import Form
from narrows.codes import Atoms
from narrows.functional.ranks import gather_over_ranks
from narrows.sparse.implicit import refit
from narrows.sparse.solution import canonical, check_count
from narrows.sparse.top_k import strongest


class ByCorrelation(Coder):
    """What `TopK` and `BatchTopK` share: atoms chosen by correlation, then perhaps refitted."""

    rate_argument: str | None = "k"

    def __init__(self, k: int, *, refit: bool = True, nonnegative: bool = False) -> None:
        check_k(k)
        check_refit(type(self).__name__, refit=refit, nonnegative=nonnegative)
        self.k = k
        self.refit = refit
        self.nonnegative = nonnegative
        self.overcounts: bool = not refit
        self.by_correlation: bool = not refit
        self.l0: float | None = float(k)

    def differentiate(self, problem: Problem, code: Atoms) -> Tensor:
        """Through the correlations, or the least squares, with the support held fixed."""
        signals, dictionary = problem.signals, problem.dictionary
        active = code.values != 0
        if self.refit:
            return refit(signals, dictionary, atoms=code.atoms, active=active)
        return self.correlations(problem, code.atoms) * active

    def form(self, problem: Problem, /) -> Form | None:
        """One product, unless values are refitted or signed."""
        if self.refit or not self.nonnegative:
            return None
        return Form("topk", *problem.affine, k=self.k)


class TopK(ByCorrelation):
    """Exactly k atoms: those most correlated with the signal (k-sparse autoencoder).

    Where atoms resemble each other, k correlations count the same part of the signal k times
    over; with a straight-through gradient the features then grow without bound. Hence the refit.

    Args:
        k: active atoms of each signal.
        refit: least squares on the chosen atoms in place of the correlations.
        nonnegative: positive correlations only, then at most k; needs refit=False.

    Source:
        Makhzani and Frey 2014, "k-Sparse Autoencoders".
    """

    def width(self, size: int, dim: int) -> int:
        """K; more atoms than dimensions have no least squares of their own."""
        check_count(self.k, size)
        if self.refit:
            check_spanned("TopK", self.k, dim)
        return self.k

    def encode(self, problem: Problem) -> Atoms:
        """The k largest correlations."""
        signals, dictionary = problem.signals, problem.dictionary
        atoms, values = strongest(*problem.compared, self.k, nonnegative=self.nonnegative)
        if self.refit:
            values = refit(signals, dictionary, atoms=atoms, active=values != 0)
            atoms, values = canonical(atoms, values)
        return Atoms(atoms, values)


class BatchTopK(ByCorrelation):
    """K atoms on average: the n k largest correlations of a batch of n signals.

    Out of training a running threshold stands in for the batch, so that a signal's code does
    not depend on its company: all correlations at or above the running mean of the training
    batches' smallest kept magnitude; at the end `settle` takes the mean over all training batches.
    At most `4 k` atoms of one signal are kept.

    Args:
        k: active atoms of a signal, on average.
        refit: least squares on the chosen atoms in place of the correlations; for the reason
            that `TopK` gives.
        nonnegative: positive correlations only; needs refit=False.

    Source:
        Bussmann, Leask and Nanda 2024, "BatchTopK Sparse Autoencoders"; here signed codes, the
        refit, and a bound on the width.
    """

    first_level: float = 0.0
    by_threshold = True
    whole_batch = True
    _WIDEST = 4

    def width(self, size: int, dim: int) -> int:
        """4 k, or all atoms; with a refit no more than dimensions."""
        check_count(self.k, size)
        if self.refit:
            check_spanned("BatchTopK", self.k, dim)
            size = min(size, dim)
        return min(size, self._WIDEST * self.k)

    def encode(self, problem: Problem) -> Atoms:
        """Largest of the batch in training, by threshold otherwise."""
        signals, dictionary, level, training, *_ = problem
        width = self.width(*dictionary.shape)
        rows, weights = problem.compared
        correlations = rows @ weights.T
        score = correlations if self.nonnegative else correlations.abs()
        magnitudes, atoms = score.topk(width, dim=-1, sorted=True)
        if training:
            level = self._threshold(magnitudes, level)
        keep = (magnitudes >= level) & (magnitudes > 0)
        if not training:  # before any update the threshold is 0: then exactly the k largest
            keep &= (level > 0) | (torch.arange(width, device=atoms.device) < self.k)
        atoms, values = canonical(atoms, correlations.gather(-1, atoms) * keep)
        if self.refit:
            atoms, values = canonical(
                atoms, refit(signals, dictionary, atoms=atoms, active=values != 0)
            )
        return Atoms(atoms, values)

    def _threshold(self, magnitudes: Tensor, level: Tensor) -> Tensor:
        """The smallest magnitude that the batch of all ranks keeps; `level` if it is empty."""
        width = magnitudes.shape[1]
        every = gather_over_ranks(magnitudes.flatten())
        kept = self.k * (len(every) // width)
        return every.topk(kept, sorted=True).values[-1] if kept else level

    def form(self, problem: Problem, /) -> Form | None:
        """By one threshold for all atoms, as in use."""
        found = super().form(problem)
        if found is None:
            return None
        threshold = problem.level.to(found.bias).expand(len(found.bias))
        return found._replace(activation="jumprelu", k=None, threshold=threshold, inclusive=True)

    def next_level(self, usage: Usage) -> Tensor:
        """Running mean of the smallest kept magnitude."""
        return usage.level.lerp(usage.smallest, usage.rate)
