import pytest

from narrows.bottlenecks import (
    NVIL,
    RLOO,
    Categorical,
    GumbelSoftmax,
    Identity,
    ScoreFunction,
    SparseDictionary,
    SpikeAndSlab,
    Split,
    StraightThrough,
    TopK,
    Variational,
    VectorQuantizer,
)
from narrows.distributions import Cauchy, Laplace, Normal, Student
from narrows.testing import check_bottleneck

BOTTLENECKS = {
    "identity": lambda: Identity(4),
    "normal": lambda: Variational(3),
    "laplace": lambda: Variational(3, Laplace()),
    "cauchy": lambda: Variational(3, Cauchy()),
    "student": lambda: Variational(3, Student(3.0)),
    "normal-laplace": lambda: Variational(3, Normal(), prior=Laplace(0.5)),
    "monte-carlo": lambda: Variational(3, Laplace(), kl="monte_carlo"),
    "rloo": lambda: Categorical(5, 2),
    "score-function": lambda: Categorical(5, 2, estimator=ScoreFunction()),
    "nvil": lambda: Categorical(5, 1, estimator=NVIL(7)),
    "gumbel": lambda: Categorical(5, 2, estimator=GumbelSoftmax()),
    "gumbel-hard": lambda: Categorical(5, 2, estimator=GumbelSoftmax(hard=True)),
    "straight-through": lambda: Categorical(5, 2, estimator=StraightThrough()),
    "spike-and-slab": lambda: SpikeAndSlab(3),
    "discrete-continuous": lambda: Split([Categorical(4, 1, estimator=RLOO(2)), Variational(3)]),
    "split-discrete": lambda: Split(
        [Categorical(4, 1, estimator=GumbelSoftmax()), VectorQuantizer(8, 2)]
    ),
    "split-nested": lambda: Split([Split([Variational(1), SpikeAndSlab(2)]), Categorical(3)]),
    "split-without-rate": lambda: Split([Identity(2), Variational(2)]),
    "split-sparse": lambda: Split([SparseDictionary(dim=4, size=8, coder=TopK(2)), Categorical(3)]),
    "free-bits": lambda: Variational(3, Normal(2.0), free_bits=0.1),
}


@pytest.mark.parametrize("make", BOTTLENECKS.values(), ids=BOTTLENECKS.keys())
@pytest.mark.parametrize("sites", [(), (2, 3)], ids=["vectors", "grid"])
def test_the_contract_holds(make, sites):
    check_bottleneck(make(), sites)
