import pytest

from narrows.bottlenecks import (
    NVIL,
    Categorical,
    GumbelSoftmax,
    Identity,
    ScoreFunction,
    StraightThrough,
    Variational,
)
from narrows.families import Cauchy, Laplace, Normal, Student
from narrows.testing import check_bottleneck

BOTTLENECKS = {
    "identity": lambda: Identity(4),
    "normal": lambda: Variational(3),
    "laplace": lambda: Variational(3, Laplace()),
    "cauchy": lambda: Variational(3, Cauchy()),
    "student": lambda: Variational(3, Student(3.0)),
    "normal-laplace": lambda: Variational(3, Normal(), Laplace(0.5)),
    "monte-carlo": lambda: Variational(3, Laplace(), kl="monte_carlo"),
    "rloo": lambda: Categorical(5, 2),
    "score-function": lambda: Categorical(5, 2, ScoreFunction()),
    "nvil": lambda: Categorical(5, 1, NVIL(7)),
    "gumbel": lambda: Categorical(5, 2, GumbelSoftmax()),
    "gumbel-hard": lambda: Categorical(5, 2, GumbelSoftmax(hard=True)),
    "straight-through": lambda: Categorical(5, 2, StraightThrough()),
    "free-bits": lambda: Variational(3, Normal(2.0), free_bits=0.1),
}


@pytest.mark.parametrize("make", BOTTLENECKS.values(), ids=BOTTLENECKS.keys())
@pytest.mark.parametrize("sites", [(), (2, 3)], ids=["vectors", "grid"])
def test_the_contract_holds(make, sites):
    check_bottleneck(make(), sites)
