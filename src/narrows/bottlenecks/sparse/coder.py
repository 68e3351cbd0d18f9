"""What every coder of signals over a dictionary can do, and what it refuses."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from torch import Tensor

from narrows.codes import Atoms
from narrows.recorded import Recorded


class Problem(NamedTuple):
    """What a coder is given.

    Attributes:
        signals: centred and scaled, `[n, dim]`.
        dictionary: unit-norm atoms, `[K, dim]`.
        level: the coder's one running number, scalar; see `Coder`.
        training: whether a code may depend on the rest of its batch.
    """

    signals: Tensor
    dictionary: Tensor
    level: Tensor
    training: bool


class Usage(NamedTuple):
    """What a training step tells about its codes; all scalars.

    Attributes:
        level: before the step.
        l0: mean number of active atoms.
        smallest: mean over the step's batches of the smallest correlation of an active atom, by
            magnitude; of use only where `by_threshold`.
        target_l0: what l0 should become; None where nothing is asked.
        rate: weight of this step in a running mean over the last few hundred examples.
    """

    level: Tensor
    l0: Tensor
    smallest: Tensor
    target_l0: float | None
    rate: float


class Coder(Recorded, ABC):
    """Finds atoms and values `[n, width]` of signals over a dictionary.

    A coder holds no state. What has to be remembered from step to step (a threshold, a penalty
    under control) is one positive number, the level, which the bottleneck keeps.

    Attributes:
        first_level: the level before any update.
        rate_argument: the constructor argument that moves the rate; None if there is none.
        controllable: whether a target L0 can steer the level.
        by_threshold: whether the level follows the smallest correlation that was kept.
        overcounts: whether correlated atoms double-count their shared component, because values
            are correlations as they are.
        whole_batch: whether a training code depends on the rest of its batch.
    """

    first_level: float = 1.0
    rate_argument: ClassVar[str | None] = None
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
    def encode(self, problem: Problem) -> Atoms:
        """Atoms and values in canonical form; no gradient.

        Out of training the code of a signal depends on nothing else in the batch.
        """

    @abstractmethod
    def differentiate(self, problem: Problem, code: Atoms) -> Tensor:
        """The code's values with their exact gradient to signals and dictionary."""

    def next_level(self, usage: Usage) -> Tensor:
        """The level after a training step."""
        return usage.level


def check_k(k: int) -> None:
    """Checks that k is a positive integer."""
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ValueError(f"expected a whole number k >= 1 of active atoms, got {k!r}")


def check_spanned(name: str, k: int, dim: int) -> None:
    """Refuses more active atoms than dimensions."""
    if k > dim:
        raise ValueError(
            f"{name}(k={k}): signals of {dim} dimensions are spanned by {dim} atoms; lower k to "
            f"at most {dim}"
        )


def check_refit(name: str, *, refit: bool, nonnegative: bool) -> None:
    """Refuses a refit that would undo the sign asked for."""
    if refit and nonnegative:
        raise ValueError(
            f"{name}: refit=True solves least squares, whose values may be negative; pass "
            "refit=False with nonnegative=True"
        )
