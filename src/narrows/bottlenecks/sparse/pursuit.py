"""Codes by solvers: orthogonal matching pursuit, and the lasso with a penalty under control."""

import math

from torch import Tensor

from narrows.bottlenecks.sparse.coder import (
    Coder,
    Problem,
    Usage,
    check_k,
    check_refit,
    check_spanned,
    steered,
)
from narrows.codes import Atoms
from narrows.sparse.coordinate_descent import lasso_support
from narrows.sparse.implicit import differentiate, refit
from narrows.sparse.omp import pursue
from narrows.sparse.penalty import L1
from narrows.sparse.solution import check_count


class OMP(Coder):
    """Exactly k atoms by orthogonal matching pursuit: greedy, with least-squares values.

    Nearer to the signal than `TopK` for the same k, at a few times its cost.

    Args:
        k: active atoms of each signal; fewer only where the residual is already rounding.

    Source:
        Pati, Rezaiifar and Krishnaprasad 1993.
    """

    rate_argument: str | None = "k"

    def __init__(self, k: int) -> None:
        check_k(k)
        self.k = k
        self.l0: float | None = float(k)

    def width(self, size: int, dim: int) -> int:
        """K; more atoms than dimensions cannot be chosen."""
        check_count(self.k, size)
        check_spanned("OMP", self.k, dim)
        return self.k

    def encode(self, problem: Problem) -> Atoms:
        """Greedy choice, least squares after each atom."""
        atoms, values, _ = pursue(problem.signals, problem.dictionary, self.k)
        return Atoms(atoms, values)

    def differentiate(self, problem: Problem, code: Atoms) -> Tensor:
        """Through the least squares with the support held fixed."""
        return differentiate(
            problem.signals, problem.dictionary, atoms=code.atoms, values=code.values
        )


class Lasso(Coder):
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
        *,
        relative: bool = True,
        nonnegative: bool = False,
        refit: bool = True,
    ) -> None:
        L1(weight)  # refuses an invalid weight
        check_refit("Lasso", refit=refit, nonnegative=nonnegative)
        self.penalty: L1 = L1(1.0, relative=relative, nonnegative=nonnegative)
        self.refit = refit
        self.first_level: float = float(weight)

    def width(self, size: int, dim: int) -> int:
        """A lasso solution with more than dim active atoms is never needed."""
        return min(size, dim)

    def encode(self, problem: Problem) -> Atoms:
        """By the active set."""
        signals, dictionary = problem.signals, problem.dictionary
        atoms, values = lasso_support(
            signals,
            dictionary,
            self._penalties(problem),
            nonnegative=self.penalty.nonnegative,
            tolerance=self._TOLERANCE,
            width=self.width(*dictionary.shape),
        )
        if self.refit:
            values = refit(signals, dictionary, atoms=atoms, active=values != 0)
        return Atoms(atoms, values)

    def _penalties(self, problem: Problem) -> Tensor:
        """Lambda of each signal: the level, or that fraction of its lambda_max."""
        resolved = self.penalty.resolve(problem.signals, problem.dictionary)
        return problem.level.to(problem.signals.dtype) * resolved

    def differentiate(self, problem: Problem, code: Atoms) -> Tensor:
        """Through the optimality conditions, and through a relative lambda."""
        signals, dictionary = problem.signals, problem.dictionary
        if self.refit:
            return refit(signals, dictionary, atoms=code.atoms, active=code.values != 0)
        weights = self._penalties(problem)
        return differentiate(
            signals, dictionary, atoms=code.atoms, values=code.values, weights=weights
        )

    def next_level(self, usage: Usage) -> Tensor:
        """Feedback on log lambda: up where too many atoms are active."""
        return steered(usage, self._GAIN, most=1.0 if self.penalty.relative else math.inf)
