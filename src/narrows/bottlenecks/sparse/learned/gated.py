"""Gates that choose atoms, and values that the penalty on the gates leaves alone."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from narrows.bottlenecks.sparse.coder import Coded, Learned, Problem
from narrows.bottlenecks.sparse.form import Form
from narrows.bottlenecks.sparse.learned.relu import Penalised
from narrows.bottlenecks.sparse.learned.untied import encoded, mean_of_others
from narrows.codes import Atoms
from narrows.sparse.activations import above, first_of_each
from narrows.sparse.products import combine
from narrows.sparse.solution import canonical


class Magnitudes(Learned):
    """Of each atom, what turns its gate into its value: exp(r) g + m."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.log_gain: nn.Parameter = nn.Parameter(torch.zeros(size))
        self.shift: nn.Parameter = nn.Parameter(torch.zeros(size))

    def forward(self, gates: Tensor, atoms: Tensor) -> Tensor:
        """Values `[n, width]` of atoms."""
        gain = self.log_gain.exp().to(gates.dtype)[atoms]
        return torch.addcmul(self.shift.to(gates.dtype)[atoms], gain, gates).relu()

    def take(self, form: Form) -> None:
        """Its gains, and shifts that count from its biases."""
        assert form.gates is not None
        log_gain, magnitude = form.gates
        self.log_gain.copy_(log_gain)
        self.shift.copy_(magnitude - log_gain.exp() * form.bias)

    def lift(self, height: Tensor, /) -> bool:
        """Keeps the values as they are when the gates fall by so much; the bias has to do that."""
        self.shift.add_(height.to(self.shift.dtype) * self.log_gain.exp())
        return False

    def renew(self, spots: Tensor, atoms: Tensor) -> None:
        """The means of the others; at first the gates themselves."""
        del atoms
        for part in (self.log_gain, self.shift):
            part[spots] = mean_of_others(part, spots, first=0.0)


class Gated(Penalised):
    r"""Gates choose atoms, and only they are penalised; values stay whole.

    .. math:: a_j = [g_j > 0]\; \mathrm{relu}(e^{r_j} g_j + m_j), \qquad
        \mathcal{L} = \|\tilde x - a D\|^2 + \lambda \sum_j \mathrm{relu}(g_j)
        + \|\tilde x - \mathrm{relu}(g)\, \bar D\|^2,
        \qquad g = W \tilde x + b

    The last term gives the gates a gradient; the dictionary in it is held constant.

    Args:
        weight: lambda; under a target L0 only the start.
        most: gates of one signal that open, the largest; None for as many as it has dimensions.

    Raises:
        ValueError: if the weight is not positive.

    Source:
        Rajamanoharan et al. 2024, "Improving Dictionary Learning with Gated Sparse Autoencoders",
        equations 3, 7 and 8; m is that paper's b_mag - exp(r) b_gate, so that b moves both.
    """

    weights: Mapping[str, float] = {"sparsity": 1.0, "gates": 1.0}

    def __init__(self, weight: float = 1.0, *, most: int | None = None) -> None:
        super().__init__(weight, most)

    def behind(self, size: int, /) -> Magnitudes:
        """What turns gates into values."""
        return Magnitudes(size)

    def encode(self, problem: Problem) -> Atoms:
        """The open gates; in training also those whose value is 0."""
        rows, weights = encoded(problem).compared
        width = self.width(*problem.dictionary.shape)
        none = problem.level.new_zeros(len(weights), dtype=rows.dtype)
        atoms, listed = above(rows, weights, thresholds=none, width=width)
        values = self.differentiate(problem, Atoms(atoms, listed.to(rows.dtype)))
        return Atoms(atoms, values) if problem.training else canonical(atoms, values)

    def differentiate(self, problem: Problem, code: Atoms) -> Tensor:
        """Through the values, with the choice held fixed."""
        behind = encoded(problem).learned
        assert isinstance(behind, Magnitudes)
        gates = self.correlations(problem, code.atoms)
        return behind(gates, code.atoms) * (code.values != 0)

    def form(self, problem: Problem, /) -> Form:
        """The encoder, and what turns gates into values."""
        inside = encoded(problem)
        assert isinstance(inside.learned, Magnitudes)
        weight, bias = inside.affine
        log_gain, shift = inside.learned.log_gain.detach(), inside.learned.shift.detach()
        return Form("gated", weight, bias, gates=(log_gain, log_gain.exp() * bias + shift))

    def terms(self, coded: Coded, /) -> Mapping[str, Tensor]:
        """Lambda times the sum of the gates, and what they reconstruct by themselves."""
        problem, atoms = coded.problem, coded.code.atoms
        gates = self.correlations(problem, atoms).relu() * first_of_each(atoms)
        fixed = combine(atoms, gates, dictionary=problem.dictionary.detach())
        return {
            "sparsity": problem.level.to(gates.dtype) * gates.sum(1),
            "gates": (problem.wanted - fixed).square().sum(1),
        }
