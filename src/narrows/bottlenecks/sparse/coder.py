"""What every sparse code of a signal can do, and what it refuses."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from narrows.bottlenecks.sparse.learned_start import StartEncoder
from narrows.recorded import Recorded


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

    def encode_from(
        self, starter: StartEncoder, signals: Tensor, dictionary: Tensor, level: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`encode` in training, from the guess of what `self.starter` made."""
        del starter
        return self.encode(signals, dictionary, level, training=True)

    def starter(self, size: int, dim: int) -> StartEncoder | None:
        """What learns to guess codes of K = size atoms, if anything does; the bottleneck's."""
        del size, dim
        return None

    def penalties(self, signals: Tensor, dictionary: Tensor, level: Tensor) -> Tensor:
        """Lambda of each signal `[n]`; 0 where there is no penalty."""
        del dictionary, level
        return signals.new_zeros(signals.shape[0])

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


def check_k(k: int) -> None:
    """Refuses a number of active atoms that is none.

    Raises:
        ValueError: unless k is a whole number >= 1.
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ValueError(f"expected a whole number k >= 1 of active atoms, got {k!r}")


def check_spanned(name: str, k: int, dim: int) -> None:
    """Refuses more atoms than dimensions.

    Raises:
        ValueError: if k > dim.
    """
    if k > dim:
        raise ValueError(
            f"{name}(k={k}): signals of {dim} dimensions are spanned by {dim} atoms; lower k to "
            f"at most {dim}"
        )


def check_refit(name: str, refit: bool, nonnegative: bool) -> None:
    """Refuses a refit that would undo the sign asked for.

    Raises:
        ValueError: if both are asked for.
    """
    if refit and nonnegative:
        raise ValueError(
            f"{name}: refit=True solves least squares, whose values may be negative; pass "
            "refit=False with nonnegative=True"
        )
