"""Atoms whose correlations exceed thresholds of their own, which are learned."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from narrows.bottlenecks.sparse.coder import Coded, Learned, Problem, quantile
from narrows.bottlenecks.sparse.form import Form
from narrows.bottlenecks.sparse.learned.relu import Penalised
from narrows.bottlenecks.sparse.learned.untied import Affine, encoded, mean_of_others
from narrows.codes import Atoms
from narrows.sparse.activations import above, first_of_each, jump_relu, step
from narrows.sparse.solution import canonical

_LEAST = 1e-3  # of a threshold that is lifted
_ZERO = 1e-30  # a threshold that is 0, whose logarithm is kept


class Thresholds(Learned):
    """One threshold exp(t) > 0 for each atom."""

    def __init__(self, size: int, threshold: float) -> None:
        super().__init__()
        self.first: float = math.log(threshold)
        self.log_threshold: nn.Parameter = nn.Parameter(torch.full((size,), self.first))

    def forward(self, like: Tensor) -> Tensor:
        """Theta `[K]`, in the dtype of a tensor."""
        return self.log_threshold.exp().to(like.dtype)

    def take(self, form: Form) -> None:
        """Its thresholds."""
        assert form.threshold is not None
        self.log_threshold.copy_(form.threshold.clamp_min(_ZERO).log())

    def lift(self, height: Tensor, /) -> bool:
        """By so much, and never to 0."""
        raised = self.log_threshold.exp() + height.to(self.log_threshold.dtype)
        self.log_threshold.copy_(raised.clamp_min(_LEAST).log())
        return True

    def renew(self, spots: Tensor, atoms: Tensor) -> None:
        """The mean of the others' logarithms; at first that which was given."""
        del atoms
        self.log_threshold[spots] = mean_of_others(self.log_threshold, spots, first=self.first)


class JumpReLU(Penalised):
    r"""Atoms for which an encoder's output exceeds a learned threshold; values are not shrunken.

    .. math:: a_j = c_j\, H(c_j - \theta_j), \qquad
        \mathcal{L} = \|\tilde x - a D\|^2 + \lambda \|a\|_0,
        \qquad c = W \tilde x + b

    Thresholds learn from outputs within half a bandwidth of them; see
    `narrows.sparse.jump_relu`.

    Args:
        weight: lambda, the squared distance that an active atom must be worth; under a target L0
            only the start.
        threshold: theta at first, in units of the features' running scale; None for one that about
            as many outputs exceed as should.
        bandwidth: epsilon, in the same units: a narrower one is nearer to the true gradient and
            noisier.
        most: atoms of one signal that are kept, the farthest above their thresholds; None for as
            many as it has dimensions.

    Raises:
        ValueError: if an argument is not positive.

    Source:
        Rajamanoharan et al. 2024, "Jumping Ahead", equations 8 to 12; theta is exp of what is
        learned, as there. Its signals have mean squared norm 1, here dim.
    """

    def __init__(
        self,
        weight: float = 1.0,
        *,
        threshold: float | None = None,
        bandwidth: float = 0.1,
        most: int | None = None,
    ) -> None:
        super().__init__(weight, most)
        given = (bandwidth,) if threshold is None else (threshold, bandwidth)
        if not all(0 < value < math.inf for value in given):
            raise ValueError(
                f"JumpReLU: expected threshold and bandwidth > 0, got {threshold} and {bandwidth}"
            )
        self.threshold: float | None = threshold
        self.bandwidth: float = float(bandwidth)

    def learned(self, size: int, dim: int, /, *, l0: float) -> Affine:
        """An encoder without a bias at first, and thresholds."""
        thresholds = Thresholds(size, self.threshold or quantile(size, l0))
        return Affine(size, dim, thresholds)

    def excess(self, problem: Problem, /) -> Tensor:
        """Over the thresholds."""
        return super().excess(problem) - _thresholds(problem)

    def encode(self, problem: Problem) -> Atoms:
        """The correlations above; in training listed with those near, which have a gradient."""
        rows, weights = encoded(problem).compared
        theta, width = _thresholds(problem), self.width(*problem.dictionary.shape)
        margin = self.bandwidth / 2 if problem.training else 0.0
        atoms, listed = above(rows, weights, thresholds=theta, width=width, margin=margin)
        z = self.correlations(problem, atoms)
        values = z * (z > theta[atoms]) * listed
        return Atoms(atoms, values) if problem.training else canonical(atoms, values)

    def differentiate(self, problem: Problem, code: Atoms) -> Tensor:
        """Exact to correlations, by the kernel to thresholds."""
        z = self.correlations(problem, code.atoms)
        theta = _thresholds(problem)[code.atoms]
        return jump_relu(z, theta, bandwidth=self.bandwidth) * first_of_each(code.atoms)

    def form(self, problem: Problem, /) -> Form:
        """The encoder and thresholds."""
        threshold = _thresholds(problem).detach()
        return Form("jumprelu", *encoded(problem).affine, threshold=threshold)

    def terms(self, coded: Coded, /) -> Mapping[str, Tensor]:
        """Lambda times the number of active atoms."""
        problem, atoms = coded.problem, coded.code.atoms
        z = self.correlations(problem, atoms).detach()
        theta = _thresholds(problem)[atoms]
        active = step(z, theta, bandwidth=self.bandwidth) * first_of_each(atoms)
        return {"sparsity": problem.level.to(z.dtype) * active.sum(1)}


def _thresholds(problem: Problem) -> Tensor:
    behind = encoded(problem).learned
    assert isinstance(behind, Thresholds)
    return behind(problem.signals)
