"""Vectors that are sums of known features, more of them than dimensions."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.special import ndtri

from narrows.data.dataset import Dataset, Origin, Split

ABOUT = "sums of 1,024 known features in 96 dimensions: superposition, correlation, hierarchy"
SHAPE = (96,)
EXAMPLES = 60_000
_TOGETHER = 2**13  # examples drawn at once
_OFTENEST = 0.9
GROUP, CHILDREN = 8, 3
"""Features of a group: one parent, three children, four that are correlated only."""


class Drawn(NamedTuple):
    """Examples `[n, d]`, and the coefficients of the true features `[n, K]`."""

    x: Tensor
    coefficients: Tensor


@dataclass(frozen=True)
class Law:
    """How features are active.

    Attributes:
        l0: mean number of active features.
        correlation: of the copula within a group, in [0, 1).
        hierarchy: whether groups have parents.
        noise: standard deviation in each dimension.
        offset: norm of a constant vector over the root of the mean squared norm of what varies:
            ||mean|| / ||std||.
    """

    l0: float = 8.0
    correlation: float = 0.5
    hierarchy: bool = True
    noise: float = 0.02
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not self.l0 > 0 or not 0 <= self.correlation < 1 or min(self.noise, self.offset) < 0:
            raise ValueError(
                "expected l0 above 0, a correlation in [0, 1), noise and offset of at least 0, got "
                f"{self}"
            )


class Superposition:
    r"""A world of known features: x = sum_j a_j f_j + offset + noise.

    Features f_j are random unit vectors, more than dimensions, so they overlap. Feature j is
    active with probability p_j, which falls like 1 / sqrt(rank), so that l0 are active on average.
    Features form groups of eight. Within a group activity is correlated (a Gaussian copula), and
    the first feature is the parent of the next three, which are active only where it is.
    Coefficients are 1 + normal / 4, at least 0.1.

    Args:
        size: number of features, a multiple of 8.
        dim: of the vectors.
        law: how they are active.
        seed: of the features.
        outputs: width of what each feature has in a second space, as if a layer had moved it
            there: `targets` `[size, outputs]`, unit vectors; 0 for none.

    Raises:
        ValueError: if a number is out of range, or a feature would be active nearly always.

    Source: Elhage et al. (2022), "Toy Models of Superposition"; correlation and hierarchy as
        causes of hedging and absorption, Chanin et al. (2024, 2025); the law and its numbers are
        ours.

    Example:
        >>> x, coefficients = Superposition().sample(100)
        >>> x.shape, coefficients.shape
        (torch.Size([100, 96]), torch.Size([100, 1024]))
    """

    def __init__(
        self,
        size: int = 1024,
        dim: int = 96,
        *,
        law: Law | None = None,
        seed: int = 0,
        outputs: int = 0,
    ) -> None:
        self.law: Law = law or Law()
        if size % GROUP or size < GROUP or dim < 2:
            raise ValueError(
                f"expected a size that is a multiple of {GROUP} and dim >= 2, got size={size}, "
                f"dim={dim}"
            )
        rates = _rates(size, self.law)
        if float(rates.max()) > _OFTENEST:
            raise ValueError(
                f"expected l0 so small that no feature is active in more than {_OFTENEST:.0%} of "
                f"the examples, got l0={self.law.l0} of size={size}"
            )
        generator = torch.Generator().manual_seed(seed)
        draws = normalize(torch.randn(size + 1, dim, generator=generator))
        self.features: Tensor = draws[:-1]
        # The order of the groups says nothing about how often they are active.
        order = torch.randperm(size // GROUP, generator=generator)
        self.rates: Tensor = rates[order].flatten()
        spread = math.sqrt(self.law.l0 * (1 + 1 / 16) + dim * self.law.noise**2)
        self.targets: Tensor = normalize(torch.randn(size, outputs, generator=generator))
        self.offset: Tensor = self.law.offset * spread * draws[-1:]

    def sample(self, n: int, *, seed: int = 0) -> Drawn:
        """Draws n examples."""
        generator = torch.Generator().manual_seed(seed)
        size, dim = self.features.shape
        shared = torch.randn(n, size // GROUP, 1, generator=generator)
        own = torch.randn(n, size // GROUP, GROUP, generator=generator)
        rho = self.law.correlation
        drive = rho**0.5 * shared + (1 - rho) ** 0.5 * own
        rates = self.rates.view(-1, GROUP)
        active = drive < ndtri(rates)
        if self.law.hierarchy:  # children are active where the parent is, with a share of its own
            given = ndtri(rates[:, 1 : 1 + CHILDREN] / rates[:, :1])
            active[:, :, 1 : 1 + CHILDREN] = (own[:, :, 1 : 1 + CHILDREN] < given) & active[
                :, :, :1
            ]
        sizes = (1 + torch.randn(n, size, generator=generator) / 4).clamp(min=0.1)
        coefficients = sizes * active.flatten(1)
        x = coefficients @ self.features + self.offset
        return Drawn(x + self.law.noise * torch.randn(n, dim, generator=generator), coefficients)


def _rates(size: int, law: Law) -> Tensor:
    """Probabilities `[groups, 8]` of features, which add up to l0."""
    groups = torch.arange(1, size // GROUP + 1).double().rsqrt()
    each = torch.linspace(1, 0.3, GROUP, dtype=torch.float64)
    rates = groups[:, None] * each
    if law.hierarchy:
        rates[:, 1 : 1 + CHILDREN] *= 0.5
    return (rates * law.l0 / rates.sum()).float()


def load(  # noqa: PLR0913 (all are named)
    *,
    size: int = 1024,
    dim: int = 96,
    n: int = EXAMPLES,
    l0: float = 8.0,
    correlation: float = 0.5,
    hierarchy: bool = True,
    noise: float = 0.02,
    offset: float = 0.0,
    seed: int = 0,
    outputs: int = 0,
) -> Dataset:
    """Draws vectors of a `Superposition`, whose arguments these are.

    Args:
        size: number of features.
        dim: of the vectors.
        n: number of vectors, of which a tenth each is for validation and test.
        l0: mean number of active features.
        correlation: within a group.
        hierarchy: whether groups have parents.
        noise: standard deviation in each dimension.
        offset: ||mean|| / ||std||.
        seed: of the features, and of the draws; `Superposition(seed=0).features` are the truth.
        outputs: width of targets: with some, examples are pairs of a vector and the same
            coefficients' sum of `Superposition.targets`, for a `Transcoder`.

    Raises:
        ValueError: if a number is out of range.
    """
    if n < 30:
        raise ValueError(f"expected at least 30 vectors, got n={n}")
    law = Law(l0, correlation, hierarchy, noise, offset)
    world = Superposition(size, dim, law=law, seed=seed, outputs=outputs)
    counts = (n - 2 * (n // 10), n // 10, n // 10)
    train, held, test = (
        Split(_vectors(world, count, seed=3 * seed + part)) for part, count in enumerate(counts)
    )
    note = (
        f"{size} features in {dim} dimensions, {l0:g} active, correlation {correlation:g}, "
        f"{'with' if hierarchy else 'without'} hierarchy, noise {noise:g}, offset {offset:g}, "
        f"seed {seed}"
    )
    if outputs:
        note += f", with targets in {outputs} dimensions"
    return Dataset(
        "superposition", train, held, test, note=note,
        origin=Origin(
            inputs=dim if outputs else 0, known=world.targets if outputs else world.features
        ),
    )  # fmt: skip


def _vectors(world: Superposition, n: int, *, seed: int) -> Tensor:
    """Vectors and targets, some at a time: the coefficients would need ten times their memory."""
    starts = range(0, n, _TOGETHER)
    drawn = (
        world.sample(min(_TOGETHER, n - start), seed=1000 * (seed + 1) + number)
        for number, start in enumerate(starts)
    )
    return torch.cat([torch.cat([x, a @ world.targets], 1) for x, a in drawn])
