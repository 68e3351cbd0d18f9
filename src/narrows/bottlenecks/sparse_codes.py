"""Which sparse code of a signal: the part that a `SparseDictionary` is told."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from narrows.functional.ranks import gather_over_ranks
from narrows.recorded import Recorded
from narrows.sparse.coordinate_descent import lasso_support
from narrows.sparse.implicit import differentiate, refit
from narrows.sparse.omp import pursue
from narrows.sparse.penalty import L1
from narrows.sparse.products import correlations_at
from narrows.sparse.solution import canonical, check_count
from narrows.sparse.top_k import strongest


class SparseCode(Recorded, ABC):
    """Signals `[n, dim]` and unit-norm atoms `[K, dim]` -> atoms and values `[n, width]`.

    A code object holds no state. What has to be remembered from step to step (a threshold, a
    penalty under control) is one positive number, the level, which the bottleneck keeps.

    Attributes:
        first_level: the level before any update.
        controllable: whether a target L0 can steer the level.
        by_threshold: whether the level follows the smallest correlation that was kept.
        overcounts: whether values are correlations as they are, which count twice what two
            atoms have in common.
        whole_batch: whether a training code depends on the rest of its batch.
    """

    first_level: float = 1.0
    controllable: ClassVar[bool] = False
    by_threshold: ClassVar[bool] = False
    overcounts: bool = False
    whole_batch: ClassVar[bool] = False

    @abstractmethod
    def width(self, size: int, dim: int) -> int:
        """How many (atom, value) pairs a code of K = size atoms has at most.

        Raises:
            ValueError: if K atoms are too few.
        """

    @abstractmethod
    def encode(
        self, signals: Tensor, dictionary: Tensor, level: Tensor, training: bool
    ) -> tuple[Tensor, Tensor]:
        """Atoms and values in canonical form; no gradient.

        Out of training the code of a signal depends on nothing else in the batch.
        """

    @abstractmethod
    def differentiate(
        self, signals: Tensor, dictionary: Tensor, atoms: Tensor, values: Tensor, level: Tensor
    ) -> Tensor:
        """The same values with their exact gradient to signals and dictionary."""

    def next_level(
        self, level: Tensor, l0: Tensor, smallest: Tensor, target_l0: float | None
    ) -> Tensor:
        """The level after a training step.

        Args:
            level: scalar.
            l0: mean number of active atoms in the step, scalar.
            smallest: mean over the step's batches of the smallest correlation that an active
                atom has, by magnitude, scalar; only where `by_threshold`.
            target_l0: what l0 should become; None where nothing is asked.
        """
        del l0, smallest, target_l0
        return level


class TopK(SparseCode):
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

    def __init__(self, k: int, refit: bool = True, nonnegative: bool = False) -> None:
        _check_k(k)
        _check_refit("TopK", refit, nonnegative)
        self.k = k
        self.refit = refit
        self.nonnegative = nonnegative
        self.overcounts = not refit

    def width(self, size: int, dim: int) -> int:
        """K; more atoms than dimensions have no least squares of their own."""
        check_count(self.k, size)
        if self.refit:
            _check_spanned("TopK", self.k, dim)
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

    def differentiate(
        self, signals: Tensor, dictionary: Tensor, atoms: Tensor, values: Tensor, level: Tensor
    ) -> Tensor:
        """Through the correlations, or the least squares, with the support held fixed."""
        del level
        active = values != 0
        if self.refit:
            return refit(signals, dictionary, atoms, active)
        return correlations_at(atoms, signals, dictionary) * active


class BatchTopK(SparseCode):
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

    def __init__(self, k: int, refit: bool = True, nonnegative: bool = False) -> None:
        _check_k(k)
        _check_refit("BatchTopK", refit, nonnegative)
        self.k = k
        self.refit = refit
        self.nonnegative = nonnegative
        self.overcounts = not refit

    def width(self, size: int, dim: int) -> int:
        """4 k, or all atoms; with a refit no more than dimensions."""
        check_count(self.k, size)
        if self.refit:
            _check_spanned("BatchTopK", self.k, dim)
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

    def differentiate(
        self, signals: Tensor, dictionary: Tensor, atoms: Tensor, values: Tensor, level: Tensor
    ) -> Tensor:
        """Through the least squares, or the correlations, with the support held fixed."""
        del level
        active = values != 0
        if self.refit:
            return refit(signals, dictionary, atoms, active)
        return correlations_at(atoms, signals, dictionary) * active

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
        _check_k(k)
        self.k = k

    def width(self, size: int, dim: int) -> int:
        """K; more atoms than dimensions cannot be chosen."""
        check_count(self.k, size)
        _check_spanned("OMP", self.k, dim)
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
    ) -> None:
        L1(weight)  # refuses what is no penalty
        _check_refit("Lasso", refit, nonnegative)
        self.penalty = L1(1.0, relative=relative, nonnegative=nonnegative)
        self.refit = refit
        self.first_level = float(weight)

    def width(self, size: int, dim: int) -> int:
        """A lasso solution with more than dim active atoms is never needed."""
        return min(size, dim)

    def encode(
        self, signals: Tensor, dictionary: Tensor, level: Tensor, training: bool
    ) -> tuple[Tensor, Tensor]:
        """By the active set."""
        del training
        weights = self._weights(signals, dictionary, level)
        nonnegative, width = self.penalty.nonnegative, self.width(*dictionary.shape)
        atoms, values = lasso_support(
            signals, dictionary, weights, nonnegative, self._TOLERANCE, width
        )
        if self.refit:
            values = refit(signals, dictionary, atoms, values != 0)
        return atoms, values

    def differentiate(
        self, signals: Tensor, dictionary: Tensor, atoms: Tensor, values: Tensor, level: Tensor
    ) -> Tensor:
        """Through the optimality conditions, and through a relative lambda."""
        if self.refit:
            return refit(signals, dictionary, atoms, values != 0)
        weights = self._weights(signals, dictionary, level)
        return differentiate(signals, dictionary, atoms, values, weights)

    def _weights(self, signals: Tensor, dictionary: Tensor, level: Tensor) -> Tensor:
        return level.to(signals.dtype) * self.penalty.resolve(signals, dictionary)

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


def _check_k(k: int) -> None:
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ValueError(f"expected a whole number k >= 1 of active atoms, got {k!r}")


def _check_spanned(name: str, k: int, dim: int) -> None:
    if k > dim:
        raise ValueError(
            f"{name}(k={k}): signals of {dim} dimensions are spanned by {dim} atoms; lower k to "
            f"at most {dim}"
        )


def _check_refit(name: str, refit: bool, nonnegative: bool) -> None:
    if refit and nonnegative:
        raise ValueError(
            f"{name}: refit=True solves least squares, whose values may be negative; pass "
            "refit=False with nonnegative=True"
        )
