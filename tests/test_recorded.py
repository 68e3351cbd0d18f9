"""Parts say how they were made."""

import pytest

from narrows import bottlenecks, likelihoods, networks
from narrows import distributions as families


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        (bottlenecks.TopK(3), "TopK(k=3)"),
        (bottlenecks.Lasso(), "Lasso()"),
        (families.Student(5.0), "Student(df=5.0)"),
        (networks.Conv(hidden=8, downsamplings=1), "Conv(hidden=8, downsamplings=1)"),
        (likelihoods.Normal(0.3), "Normal(sigma=0.3)"),
        (
            bottlenecks.SparseDictionary(16, 4, coder=bottlenecks.TopK(2)),
            "SparseDictionary(size=16, dim=4, coder=TopK(k=2))",
        ),
    ],
)
def test_a_part_is_printed_as_the_call_that_makes_it(part, shown):
    assert repr(part) == shown


def test_parts_that_are_modules_are_printed_below_as_pytorch_does():
    stage = bottlenecks.VectorQuantizer(size=8, dim=4)
    text = repr(bottlenecks.ResidualQuantizer(stage, stages=2))
    assert text.count("stages=2") == 1
    assert text.count("size=8, dim=4") == 1
    assert "stage=" not in text
