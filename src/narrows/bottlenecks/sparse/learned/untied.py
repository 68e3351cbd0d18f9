"""An encoder of its own in place of the atoms, as sparse autoencoders have."""

from abc import abstractmethod
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from narrows.bottlenecks.sparse.coder import Coded, Coder, Learned, Problem, Usage
from narrows.bottlenecks.sparse.form import Form
from narrows.codes import Atoms


class Around(Coder):
    """A coder that adds something to another one, and is otherwise that coder."""

    @abstractmethod
    def __init__(self, coder: Coder) -> None:
        self.coder = coder
        for declared in Coder.__annotations__:
            setattr(self, declared, getattr(coder, declared))
        if coder.rate_argument is not None:
            self.rate_argument: str | None = f"coder.{coder.rate_argument}"

    def learned(self, size: int, dim: int, /, *, l0: float) -> Learned | None:
        """What the coder inside learns."""
        return self.coder.learned(size, dim, l0=l0)

    def width(self, size: int, dim: int) -> int:
        """That of the coder inside."""
        return self.coder.width(size, dim)

    def encode(self, problem: Problem) -> Atoms:
        """By the coder inside."""
        return self.coder.encode(problem)

    def differentiate(self, problem: Problem, code: Atoms) -> Tensor:
        """By the coder inside."""
        return self.coder.differentiate(problem, code)

    def terms(self, coded: Coded, /) -> Mapping[str, Tensor]:
        """Those of the coder inside."""
        return self.coder.terms(coded)

    def form(self, problem: Problem, /) -> Form | None:
        """That of the coder inside."""
        return self.coder.form(problem)

    def excess(self, problem: Problem, /) -> Tensor | None:
        """That of the coder inside."""
        return self.coder.excess(problem)

    def correlations(self, problem: Problem, atoms: Tensor) -> Tensor:
        """Those of the coder inside."""
        return self.coder.correlations(problem, atoms)

    def next_level(self, usage: Usage) -> Tensor:
        """That of the coder inside."""
        return self.coder.next_level(usage)


class Affine(Learned):
    """An encoder W x + b beside the atoms, and what the coder behind it learns."""

    def __init__(self, size: int, dim: int, inner: Learned | None, *, bias: float = 0.0) -> None:
        super().__init__()
        self.first: float = bias
        self.weight: nn.Parameter = nn.Parameter(torch.zeros(size, dim))
        self.bias: nn.Parameter = nn.Parameter(torch.zeros(size))
        self.inner: Learned | None = inner

    def renew(self, spots: Tensor, atoms: Tensor) -> None:
        """The atom itself, with the mean norm and bias of the others; at first of norm 1."""
        length = mean_of_others(self.weight.norm(dim=1), spots, first=1.0)
        self.weight[spots] = atoms.to(self.weight.dtype) * length
        self.bias[spots] = mean_of_others(self.bias, spots, first=self.first)
        if self.inner is not None:
            self.inner.renew(spots, atoms)

    def take(self, form: Form) -> None:
        """Its product, and what the part inside holds."""
        self.weight.copy_(form.weight)
        self.bias.copy_(form.bias)
        if self.inner is not None:
            self.inner.take(form)

    def lift(self, height: Tensor, /) -> bool:
        """By the thresholds behind the encoder where there are any, else by its bias."""
        if self.inner is None or not self.inner.lift(height):
            self.bias.sub_(height.to(self.bias.dtype))
        return True


def mean_of_others(values: Tensor, spots: Tensor, *, first: float) -> Tensor:
    """The mean of the values `[K]` elsewhere than at some spots; `first` where there are none."""
    kept = torch.ones_like(values).index_fill(0, spots, 0.0)
    mean = (values * kept).sum() / kept.sum().clamp_min(1)
    return torch.where(kept.sum() > 0, mean, first)


class Untied(Around):
    r"""Chooses and weighs atoms by a learned encoder in place of their correlations.

    .. math:: a = \mathrm{coder}(W \tilde x + b), \qquad z = \mu + s\, a D

    W starts as the atoms, b as 0. They learn from the reconstruction, also where the gradient past
    the code is a straight-through one. With `TopK(k, refit=False, nonnegative=True)` it is the
    k-sparse autoencoder of Gao et al., with `BatchTopK` that of Bussmann et al.; `ReLU`,
    `JumpReLU` and `Gated` have an encoder of their own.

    Args:
        coder: `TopK` or `BatchTopK` without a refit, or your own with `by_correlation`.

    Raises:
        TypeError: if the coder needs the signals and atoms themselves.

    Source:
        Cunningham et al. 2023, "Sparse Autoencoders Find Highly Interpretable Features in Language
        Models"; the tied start is of Gao et al. 2024. The running centre takes the place of a
        learned decoder bias, and atoms of norm 1 that of a constraint or penalty on the decoder.

    Example:
        >>> from narrows.bottlenecks import SparseDictionary, TopK
        >>> coder = Untied(TopK(2, refit=False, nonnegative=True))
        >>> SparseDictionary(size=32, dim=8, coder=coder)(torch.randn(4, 8)).code.values.shape
        torch.Size([4, 2])
    """

    def __init__(self, coder: Coder) -> None:
        super().__init__(coder)
        if not coder.by_correlation or coder.has_encoder:
            raise TypeError(
                f"Untied({coder}): this coder solves for its values or has an encoder; pass "
                "refit=False, or use the coder without Untied"
            )
        self.overcounts = False
        self.has_encoder = True

    def learned(self, size: int, dim: int, /, *, l0: float) -> Affine:
        """Weight and bias."""
        inner = self.coder.learned(size, dim, l0=l0)
        return Affine(size, dim, inner)

    def encode(self, problem: Problem) -> Atoms:
        """By the encoder's outputs."""
        return self.coder.encode(encoded(problem))

    def differentiate(self, problem: Problem, code: Atoms) -> Tensor:
        """To signals, weight and bias."""
        return self.coder.differentiate(encoded(problem), code)

    def form(self, problem: Problem, /) -> Form | None:
        """That of the coder inside, with the encoder's product."""
        return self.coder.form(encoded(problem))

    def terms(self, coded: Coded, /) -> Mapping[str, Tensor]:
        """Of the encoder's outputs."""
        return self.coder.terms(coded._replace(problem=encoded(coded.problem)))

    def correlations(self, problem: Problem, atoms: Tensor) -> Tensor:
        """The encoder's outputs."""
        return self.coder.correlations(encoded(problem), atoms)


def encoded(problem: Problem) -> Problem:
    """The problem with (x, 1) (W, b)^T in place of the correlations."""
    part = problem.learned
    if not isinstance(part, Affine):
        return problem
    rows = F.pad(problem.signals, (0, 1), value=1.0)
    weights = torch.cat([part.weight, part.bias[:, None]], 1).to(rows.dtype)
    return problem._replace(learned=part.inner, encoder=(rows, weights))
