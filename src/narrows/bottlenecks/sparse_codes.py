"""Which sparse code of a signal: the part that a `SparseDictionary` is told."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from narrows.recorded import Recorded
from narrows.sparse.solution import canonical, check_count
from narrows.sparse.top_k import refit_on_support, select_top_k


class SparseCode(Recorded, ABC):
    """Signals `[n, dim]` and unit-norm atoms `[K, dim]` -> atoms and values `[n, width]`.

    A code object holds no state. What has to be remembered from step to step (a threshold, a
    penalty under control) is one positive number, the level, which the bottleneck keeps.

    Attributes:
        first_level: the level before any update.
        controllable: whether a target L0 can steer the level.
    """

    first_level: float = 1.0
    controllable: ClassVar[bool] = False

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
        self, signals: Tensor, dictionary: Tensor, atoms: Tensor, values: Tensor
    ) -> Tensor:
        """The same values with their exact gradient to signals and dictionary."""

    def next_level(
        self, level: Tensor, l0: Tensor, smallest: Tensor, target_l0: float | None
    ) -> Tensor:
        """The level after a training step.

        Args:
            level: scalar.
            l0: mean number of active atoms in the step, scalar.
            smallest: mean over the step's batches of the smallest active magnitude, scalar.
            target_l0: what l0 should become; None where nothing is asked.
        """
        del l0, smallest, target_l0
        return level


def correlations_at(signals: Tensor, dictionary: Tensor, atoms: Tensor) -> Tensor:
    """<x, d_j> for the given atoms, `[n, width]`; differentiable."""
    return torch.einsum("nd,nwd->nw", signals, dictionary[atoms])


class TopK(SparseCode):
    """Exactly k atoms: those most correlated with the signal (k-sparse autoencoder).

    Args:
        k: active atoms of each signal.
        refit: least squares on the chosen atoms in place of the correlations.
        nonnegative: positive correlations only; then at most k.

    Source:
        Makhzani and Frey 2014, "k-Sparse Autoencoders".
    """

    def __init__(self, k: int, refit: bool = False, nonnegative: bool = False) -> None:
        _check_k(k)
        if refit and nonnegative:
            raise ValueError(
                "TopK: refit=True solves least squares, whose values may be negative; drop "
                "nonnegative=True, or use Lasso(nonnegative=True)"
            )
        self.k = k
        self.refit = refit
        self.nonnegative = nonnegative

    def width(self, size: int, dim: int) -> int:
        """K."""
        del dim
        check_count(self.k, size)
        return self.k

    def encode(
        self, signals: Tensor, dictionary: Tensor, level: Tensor, training: bool
    ) -> tuple[Tensor, Tensor]:
        """The k largest correlations."""
        del level, training
        correlations = signals @ dictionary.T
        atoms, values = select_top_k(correlations, self.k, nonnegative=self.nonnegative)
        if self.refit:
            values = refit_on_support(signals, dictionary, atoms, values != 0)
            atoms, values = canonical(atoms, values)
        return atoms, values

    def differentiate(
        self, signals: Tensor, dictionary: Tensor, atoms: Tensor, values: Tensor
    ) -> Tensor:
        """Through the correlations, or the least squares, with the support held fixed."""
        active = values != 0
        if self.refit:
            return refit_on_support(signals, dictionary, atoms, active)
        return correlations_at(signals, dictionary, atoms) * active


class BatchTopK(SparseCode):
    """K atoms on average: the n k largest correlations of a batch of n signals.

    Out of training a running threshold stands in for the batch, so that a signal's code does
    not depend on its company: all correlations at or above the running mean of the training
    batches' smallest kept magnitude. At most `4 k` atoms of one signal are kept.

    Args:
        k: active atoms of a signal, on average.
        nonnegative: positive correlations only.

    Source:
        Bussmann, Leask and Nanda 2024, "BatchTopK Sparse Autoencoders"; here signed codes and
        a bound on the width.
    """

    first_level = 0.0
    _WIDEST = 4
    _DECAY = 0.99

    def __init__(self, k: int, nonnegative: bool = False) -> None:
        _check_k(k)
        self.k = k
        self.nonnegative = nonnegative

    def width(self, size: int, dim: int) -> int:
        """4 k, or all atoms."""
        del dim
        check_count(self.k, size)
        return min(size, self._WIDEST * self.k)

    def encode(
        self, signals: Tensor, dictionary: Tensor, level: Tensor, training: bool
    ) -> tuple[Tensor, Tensor]:
        """Largest of the batch in training, by threshold otherwise."""
        width = self.width(*dictionary.shape)
        correlations = signals @ dictionary.T
        score = correlations if self.nonnegative else correlations.abs()
        magnitudes, atoms = score.topk(width, dim=-1, sorted=True)
        if training and len(signals) > 0:
            level = magnitudes.flatten().topk(self.k * len(signals), sorted=True).values[-1]
        keep = (magnitudes >= level) & (magnitudes > 0)
        if not training:  # before any update the threshold is 0: then exactly the k largest
            keep &= (level > 0) | (torch.arange(width, device=atoms.device) < self.k)
        return canonical(atoms, correlations.gather(-1, atoms) * keep)

    def differentiate(
        self, signals: Tensor, dictionary: Tensor, atoms: Tensor, values: Tensor
    ) -> Tensor:
        """Through the correlations with the support held fixed."""
        return correlations_at(signals, dictionary, atoms) * (values != 0)

    def next_level(
        self, level: Tensor, l0: Tensor, smallest: Tensor, target_l0: float | None
    ) -> Tensor:
        """Running mean of the smallest kept magnitude."""
        del l0, target_l0
        return torch.where(level == 0, smallest, level.lerp(smallest, 1 - self._DECAY))


def _check_k(k: int) -> None:
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ValueError(f"expected a whole number k >= 1 of active atoms, got {k!r}")
