"""The atoms that an encoder finds, kept few by an L1 penalty."""

from collections.abc import Mapping

from torch import Tensor

from narrows.bottlenecks.sparse.coder import (
    Coded,
    Coder,
    Learned,
    Problem,
    Usage,
    check_k,
    quantile,
    steered,
)
from narrows.bottlenecks.sparse.form import Form
from narrows.bottlenecks.sparse.learned.untied import Affine, encoded
from narrows.codes import Atoms
from narrows.sparse.activations import above
from narrows.sparse.products import correlations_at
from narrows.sparse.solution import canonical


class Penalised(Coder):
    """What coders share that have an encoder, and an L0 that follows from the weight of a penalty.

    The encoder is that of `Untied`, whose bias starts so low that about as many atoms are active
    as should be: from a dense start the control drives L0 far below its target.

    Args:
        weight: of the penalty, beside the squared distance of a signal to its code; under a target
            L0 only the start.
        most: active atoms of one signal, the farthest above their thresholds; None for its width.
    """

    controllable = True
    by_correlation = True
    has_encoder = True
    weights: Mapping[str, float] = {"sparsity": 1.0}
    # Relative change of the weight per step and unit of log(L0 / target), and the largest unit:
    # a code that learns answers after some hundred steps, and must not be driven past its target.
    _GAIN, _FAR = 0.01, 1.0

    def __init__(self, weight: float, most: int | None = None) -> None:
        if not 0 < weight < float("inf"):
            raise ValueError(f"{type(self).__name__}: expected a weight > 0, got {weight}")
        if most is not None:
            check_k(most)
        self.first_level: float = float(weight)
        self.most = most

    def width(self, size: int, dim: int) -> int:
        """`most`, or dim: more active atoms than dimensions are no sparse code."""
        return min(size, self.most or dim)

    def learned(self, size: int, dim: int, /, *, l0: float) -> Affine:
        """The encoder, and what `behind` makes."""
        return Affine(size, dim, self.behind(size), bias=-quantile(size, l0))

    def behind(self, _size: int, /) -> Learned | None:
        """What is learned behind the encoder."""
        return None

    def excess(self, problem: Problem, /) -> Tensor:
        """Of the encoder's outputs over 0, or over thresholds."""
        rows, weights = encoded(problem).compared
        return rows @ weights.T

    def correlations(self, problem: Problem, atoms: Tensor) -> Tensor:
        """The encoder's outputs."""
        return correlations_at(atoms, *encoded(problem).compared)

    def next_level(self, usage: Usage) -> Tensor:
        """Feedback on the log weight."""
        return steered(usage, self._GAIN, far=self._FAR)


class ReLU(Penalised):
    r"""All atoms with positive outputs of an encoder, of which a penalty on the values leaves few.

    .. math:: a = \mathrm{relu}(c), \qquad \mathcal{L} = \|\tilde x - a D\|^2
        + \lambda \sum_j a_j, \qquad c = W \tilde x + b

    Atoms have norm 1, so that no larger atom can buy a smaller value. The penalty shrinks values;
    `JumpReLU` and `Gated` do not.

    Args:
        weight: lambda; under a target L0 only the start.
        most: values of one signal that are kept, the largest; None for as many as dimensions.

    Raises:
        ValueError: if the weight is not positive.

    Source:
        Bricken et al. 2023, "Towards Monosemanticity"; Cunningham et al. 2023.
    """

    def __init__(self, weight: float = 1.0, *, most: int | None = None) -> None:
        super().__init__(weight, most)

    def encode(self, problem: Problem) -> Atoms:
        """The positive outputs."""
        rows, weights = encoded(problem).compared
        width = self.width(*problem.dictionary.shape)
        none = problem.level.new_zeros(len(weights), dtype=rows.dtype)
        atoms, listed = above(rows, weights, thresholds=none, width=width)
        return canonical(atoms, self.correlations(problem, atoms).relu() * listed)

    def differentiate(self, problem: Problem, code: Atoms) -> Tensor:
        """Through the positive outputs."""
        return self.correlations(problem, code.atoms).relu() * (code.values != 0)

    def form(self, problem: Problem, /) -> Form:
        """The encoder and a ReLU."""
        return Form("standard", *encoded(problem).affine)

    def terms(self, coded: Coded, /) -> Mapping[str, Tensor]:
        """Lambda times the sum of the values."""
        values = coded.code.values
        return {"sparsity": coded.problem.level.to(values.dtype) * values.sum(1)}
