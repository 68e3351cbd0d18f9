"""What every coder of signals over a dictionary can do, and what it refuses."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from statistics import NormalDist
from typing import NamedTuple

from torch import Tensor, nn

from narrows.bottlenecks.sparse.form import Form
from narrows.codes import Atoms
from narrows.recorded import Recorded
from narrows.sparse.products import correlations_at


class Learned(nn.Module, ABC):
    """What a coder learns beside the dictionary; the bottleneck holds it."""

    @abstractmethod
    def renew(self, spots: Tensor, atoms: Tensor) -> None:
        """Follows atoms that were replaced.

        Args:
            spots: indices of the replaced atoms, `[m]`.
            atoms: what they became, `[m, dim]`, of norm 1.
        """

    def take(self, form: Form) -> None:
        """Becomes what a form says, as far as it is held here; gradients are off."""

    def lift(self, _height: Tensor, /) -> bool:
        """Makes every atom so much harder to reach; false where something else has to do it."""
        return False


class Problem(NamedTuple):
    """What a coder is given.

    Attributes:
        signals: centred and scaled, `[n, dim]`.
        dictionary: unit-norm atoms, `[K, dim]`.
        level: the coder's one running number, scalar; see `Coder`.
        training: whether a code may depend on the rest of its batch.
        learned: what `Coder.learned` made; None for coders that learn nothing.
        encoder: rows `[n, m]` and weights `[K, m]` whose products take the place of the
            correlations of signals and atoms; None for these.
        target: what codes are to give, `[n, atoms' width]`; None for the signals themselves.
    """

    signals: Tensor
    dictionary: Tensor
    level: Tensor
    training: bool
    learned: Learned | None = None
    encoder: tuple[Tensor, Tensor] | None = None
    target: Tensor | None = None

    @property
    def wanted(self) -> Tensor:
        """What codes are to give."""
        return self.signals if self.target is None else self.target

    @property
    def compared(self) -> tuple[Tensor, Tensor]:
        """Rows and weights whose products are the correlations."""
        return self.encoder or (self.signals, self.dictionary)

    @property
    def affine(self) -> tuple[Tensor, Tensor]:
        """W `[K, dim]` and b `[K]` of the correlations W x + b."""
        weights, dim = self.compared[1].detach(), self.signals.shape[1]
        bias = weights[:, dim] if weights.shape[1] > dim else weights.new_zeros(len(weights))
        return weights[:, :dim], bias


class Coded(NamedTuple):
    """What a coder's own losses are computed from.

    Attributes:
        problem: what the coder was given.
        code: what it made of it, with its gradient.
        residual: what is wanted less its approximation, `[n, dim]`; no gradient.
        dead: which atoms have lain idle for long, bool `[K]`.
    """

    problem: Problem
    code: Atoms
    residual: Tensor
    dead: Tensor


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
    under control) is one positive number, the level, which the bottleneck keeps; so it does the
    module that `learned` makes.

    Attributes:
        first_level: the level before any update.
        rate_argument: the constructor argument that moves the rate; None if there is none.
        controllable: whether a target L0 can steer the level.
        by_threshold: whether the level follows the smallest correlation that was kept.
        overcounts: whether correlated atoms double-count their shared component, because values
            are correlations as they are.
        whole_batch: whether a training code depends on the rest of its batch.
        by_correlation: whether atoms are chosen and weighed by one number for each: a correlation,
            or what an encoder gives.
        has_encoder: whether that is an encoder's.
        l0: number of active atoms that the arguments ask for; None where they ask for none.
        weights: weight in the loss of each of the coder's own `terms`, by name.
    """

    first_level: float = 1.0
    rate_argument: str | None = None
    controllable: bool = False
    by_threshold: bool = False
    overcounts: bool = False
    whole_batch: bool = False
    by_correlation: bool = False
    has_encoder: bool = False
    l0: float | None = None
    weights: Mapping[str, float] = {}

    def learned(self, _size: int, _dim: int, /, *, l0: float) -> Learned | None:
        """Makes what the coder learns beside a dictionary `[size, dim]`; None for nothing.

        Args:
            _size: number of atoms K.
            _dim: width of the signals.
            l0: how many atoms of a code should be active.
        """
        del l0
        return None

    @abstractmethod
    def width(self, size: int, dim: int) -> int:
        """How many (atom, value) pairs a code of K = size atoms has at most.

        Raises:
            ValueError: if K atoms are too few.
        """

    @abstractmethod
    def encode(self, problem: Problem) -> Atoms:
        """Atoms and values in canonical form; no gradient.

        Out of training the code of a signal depends on nothing else in the batch. In training
        atoms of value 0 may be listed where they have a gradient.
        """

    @abstractmethod
    def differentiate(self, problem: Problem, code: Atoms) -> Tensor:
        """The code's values with their exact gradient to signals and dictionary."""

    def terms(self, _coded: Coded, /) -> Mapping[str, Tensor]:
        """The coder's own losses by name, `[n]` in squared units of the signals."""
        return {}

    def excess(self, _problem: Problem, /) -> Tensor | None:
        """How far each atom is above its threshold, `[n, K]`, where `Learned.lift` moves these."""
        return None

    def form(self, _problem: Problem, /) -> Form | None:
        """The code as one product; None where it is none, as where values are solved for."""
        return None

    def correlations(self, problem: Problem, atoms: Tensor) -> Tensor:
        """What atoms `[n, width]` are chosen by; `by_threshold` coders compare it."""
        return correlations_at(atoms, *problem.compared)

    def next_level(self, usage: Usage) -> Tensor:
        """The level after a training step."""
        return usage.level


def steered(usage: Usage, gain: float, *, most: float = math.inf, far: float = 5.0) -> Tensor:
    """The weight of a penalty after a step: up where more atoms are active than asked for.

    log w moves by gain * log(l0 / target), which counts within [-far, far]; w stays as it is
    where nothing is asked.
    """
    level, target_l0 = usage.level, usage.target_l0
    if target_l0 is None:
        return level
    # A code that is all zero says only that the penalty is far too large.
    error = (usage.l0.clamp_min(target_l0 / 100) / target_l0).log().clamp(-far, far)
    return (level.clamp_min(1e-6) * (gain * error).exp()).clamp(1e-6, most)


def quantile(size: int, l0: float) -> float:
    """What l0 of `size` correlations exceed, were they normal as those of random atoms are.

    Signals have variance 1 in each coordinate, and atoms norm 1. At least 0.1.

    Example:
        >>> round(quantile(4608, l0=32.0), 3)
        2.46
    """
    return max(NormalDist().inv_cdf(1 - min(l0, size / 2) / size), 0.1)


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
