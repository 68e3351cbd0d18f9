"""Which sparse code of a signal: the part that a `SparseDictionary` is told."""

import torch
from torch import Tensor

from narrows.bottlenecks.sparse.coder import SparseCode, check_k, check_refit, check_spanned
from narrows.bottlenecks.sparse.learned_start import LearnedStart, StartEncoder
from narrows.functional.ranks import gather_over_ranks
from narrows.sparse.implicit import differentiate, refit
from narrows.sparse.lasso_support import lasso_support
from narrows.sparse.omp import pursue
from narrows.sparse.penalty import L1
from narrows.sparse.products import correlations_at
from narrows.sparse.solution import canonical, check_count
from narrows.sparse.top_k import strongest


class ByCorrelation(SparseCode):
    """What `TopK` and `BatchTopK` share: atoms chosen by correlation, then perhaps refitted."""

    def __init__(self, k: int, refit: bool = True, nonnegative: bool = False) -> None:
        check_k(k)
        check_refit(type(self).__name__, refit, nonnegative)
        self.k = k
        self.refit = refit
        self.nonnegative = nonnegative
        self.overcounts = not refit

    def differentiate(
        self, signals: Tensor, dictionary: Tensor, atoms: Tensor, values: Tensor, level: Tensor
    ) -> Tensor:
        """Through the correlations, or the least squares, with the support held fixed."""
        del level
        active = values != 0
        if self.refit:
            return refit(signals, dictionary, atoms, active)
        return correlations_at(atoms, signals, dictionary) * active


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

    def encode(
        self, signals: Tensor, dictionary: Tensor, level: Tensor, training: bool
    ) -> tuple[Tensor, Tensor]:
        """The k largest correlations."""
        del level, training
        atoms, values = strongest(signals, dictionary, self.k, nonnegative=self.nonnegative)
        if self.refit:
            values = refit(signals, dictionary, atoms, values != 0)
            atoms, values = canonical(atoms, values)
        return atoms, values


class BatchTopK(ByCorrelation):
    """K atoms on average: the n k largest correlations of a batch of n signals.

    Out of training a running threshold stands in for the batch, so that a signal's code does
    not depend on its company: all correlations at or above the running mean of the training
    batches' smallest kept magnitude. At most `4 k` atoms of one signal are kept.

    Args:
        k: active atoms of a signal, on average.
        refit: least squares on the chosen atoms in place of the correlations; for the reason
            that `TopK` gives.
        nonnegative: positive correlations only; needs refit=False.

    Source:
        Bussmann, Leask and Nanda 2024, "BatchTopK Sparse Autoencoders"; here signed codes, the
        refit, and a bound on the width.
    """

    first_level = 0.0
    by_threshold = True
    whole_batch = True
    _WIDEST = 4
    _DECAY = 0.99

    def width(self, size: int, dim: int) -> int:
        """4 k, or all atoms; with a refit no more than dimensions."""
        check_count(self.k, size)
        if self.refit:
            check_spanned("BatchTopK", self.k, dim)
            size = min(size, dim)
        return min(size, self._WIDEST * self.k)

    def encode(
        self, signals: Tensor, dictionary: Tensor, level: Tensor, training: bool
    ) -> tuple[Tensor, Tensor]:
        """Largest of the batch in training, by threshold otherwise."""
        width = self.width(*dictionary.shape)
        correlations = signals @ dictionary.T
        score = correlations if self.nonnegative else correlations.abs()
        magnitudes, atoms = score.topk(width, dim=-1, sorted=True)
        if training:
            level = self._threshold(magnitudes, level)
        keep = (magnitudes >= level) & (magnitudes > 0)
        if not training:  # before any update the threshold is 0: then exactly the k largest
            keep &= (level > 0) | (torch.arange(width, device=atoms.device) < self.k)
        atoms, values = canonical(atoms, correlations.gather(-1, atoms) * keep)
        if self.refit:
            atoms, values = canonical(atoms, refit(signals, dictionary, atoms, values != 0))
        return atoms, values

    def _threshold(self, magnitudes: Tensor, level: Tensor) -> Tensor:
        """The smallest magnitude that the batch of all ranks keeps; `level` if it is empty."""
        width = magnitudes.shape[1]
        every = gather_over_ranks(magnitudes.flatten())
        kept = self.k * (len(every) // width)
        return every.topk(kept, sorted=True).values[-1] if kept else level

    def next_level(
        self, level: Tensor, l0: Tensor, smallest: Tensor, target_l0: float | None
    ) -> Tensor:
        """Running mean of the smallest kept magnitude."""
        del l0, target_l0
        return torch.where(level == 0, smallest, level.lerp(smallest, 1 - self._DECAY))


class OMP(SparseCode):
    """Exactly k atoms by orthogonal matching pursuit: greedy, with least-squares values.

    Nearer to the signal than `TopK` for the same k, at a few times its cost.

    Args:
        k: active atoms of each signal; fewer only where the residual is already rounding.

    Source:
        Pati, Rezaiifar and Krishnaprasad 1993.
    """

    def __init__(self, k: int) -> None:
        check_k(k)
        self.k = k

    def width(self, size: int, dim: int) -> int:
        """K; more atoms than dimensions cannot be chosen."""
        check_count(self.k, size)
        check_spanned("OMP", self.k, dim)
        return self.k

    def encode(
        self, signals: Tensor, dictionary: Tensor, level: Tensor, training: bool
    ) -> tuple[Tensor, Tensor]:
        """Greedy choice, least squares after each atom."""
        del level, training
        atoms, values, _ = pursue(signals, dictionary, self.k)
        return atoms, values

    def differentiate(
        self, signals: Tensor, dictionary: Tensor, atoms: Tensor, values: Tensor, level: Tensor
    ) -> Tensor:
        """Through the least squares with the support held fixed."""
        del level
        return differentiate(signals, dictionary, atoms, values)


class Lasso(SparseCode):
    """As many atoms as the L1 penalty leaves active; at most `dim`.

    With `target_l0` the bottleneck moves the weight until so many are active on average. The
    penalty shrinks values towards 0; `refit` undoes that on the atoms it has chosen.

    Args:
        weight: lambda, in units of the features' running scale; with relative=True the fraction
            of each signal's lambda_max, above which its code is 0. Under a target L0 only the
            start.
        relative: whether weight is that fraction.
        nonnegative: whether values must be >= 0.
        refit: least squares on the active atoms in place of the shrunken values.
        start: a guess of each code, learned along the way, for the solver to start from in
            training; it changes how long it takes and nothing else.

    Source:
        Tibshirani 1996; feedback on the penalty in place of a schedule is ours.
    """

    controllable = True
    # Relative duality gap. Tighter changes z by less than the decoder could notice.
    _TOLERANCE = 1e-3
    # Relative change of the weight per step and unit of log(L0 / target).
    _GAIN = 0.05

    def __init__(
        self,
        weight: float = 0.2,
        relative: bool = True,
        nonnegative: bool = False,
        refit: bool = True,
        start: LearnedStart | None = None,
    ) -> None:
        L1(weight)  # refuses what is no penalty
        check_refit("Lasso", refit, nonnegative)
        if start is not None and not isinstance(start, LearnedStart):
            raise TypeError(f"expected a LearnedStart or None, got {type(start).__name__}")
        self.penalty = L1(1.0, relative=relative, nonnegative=nonnegative)
        self.refit = refit
        self.start = start
        self.first_level = float(weight)

    def width(self, size: int, dim: int) -> int:
        """A lasso solution with more than dim active atoms is never needed."""
        return min(size, dim)

    def encode(
        self, signals: Tensor, dictionary: Tensor, level: Tensor, training: bool
    ) -> tuple[Tensor, Tensor]:
        """By the active set."""
        del training
        return self._solve(signals, dictionary, self.penalties(signals, dictionary, level), None)

    def encode_from(
        self, starter: StartEncoder, signals: Tensor, dictionary: Tensor, level: Tensor
    ) -> tuple[Tensor, Tensor]:
        """By the active set, of a guess to begin with."""
        weights = self.penalties(signals, dictionary, level)
        guess = starter.propose(signals, dictionary, weights)
        return self._solve(signals, dictionary, weights, guess)

    def starter(self, size: int, dim: int) -> StartEncoder | None:
        """Of the `start` that was asked for."""
        if self.start is None:
            return None
        return StartEncoder(self.start, size, dim, self.penalty.nonnegative)

    def penalties(self, signals: Tensor, dictionary: Tensor, level: Tensor) -> Tensor:
        """The level, or that fraction of each signal's lambda_max."""
        return level.to(signals.dtype) * self.penalty.resolve(signals, dictionary)

    def _solve(
        self,
        signals: Tensor,
        dictionary: Tensor,
        weights: Tensor,
        start: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor]:
        options = (self.penalty.nonnegative, self._TOLERANCE, self.width(*dictionary.shape))
        atoms, values = lasso_support(signals, dictionary, weights, options, start)
        if self.refit:
            values = refit(signals, dictionary, atoms, values != 0)
        return atoms, values

    def differentiate(
        self, signals: Tensor, dictionary: Tensor, atoms: Tensor, values: Tensor, level: Tensor
    ) -> Tensor:
        """Through the optimality conditions, and through a relative lambda."""
        if self.refit:
            return refit(signals, dictionary, atoms, values != 0)
        weights = self.penalties(signals, dictionary, level)
        return differentiate(signals, dictionary, atoms, values, weights)

    def next_level(
        self, level: Tensor, l0: Tensor, smallest: Tensor, target_l0: float | None
    ) -> Tensor:
        """Feedback on log lambda: up where too many atoms are active."""
        del smallest
        if target_l0 is None:
            return level
        # A code that is all zero says only that lambda is far too large.
        error = (l0.clamp_min(target_l0 / 100) / target_l0).log()
        most = 1.0 if self.penalty.relative else float("inf")
        return (level.clamp_min(1e-6) * (self._GAIN * error).exp()).clamp(1e-6, most)
