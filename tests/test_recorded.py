"""Parts say how they were made."""

import json

import numpy as np
import pytest

from narrows import bottlenecks, likelihoods, networks, training
from narrows import distributions as families
from narrows.recorded import build, spec


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
    assert text.count("size=8, dim=4") == 2
    assert text.count("size=8, dim=4, seed=1") == 1
    assert "stage=" not in text


@pytest.mark.parametrize(
    "part",
    [
        bottlenecks.VectorQuantizer(np.int64(8), np.prod((2, 2))),
        bottlenecks.FiniteScalarQuantizer(np.array([3, 4])),
        bottlenecks.Variational(np.int32(4), free_bits=np.float32(0.5)),
        bottlenecks.LookupFreeQuantizer(np.int64(4), np.bool_(True)),
        bottlenecks.SparseDictionary(np.int64(8), np.int64(4), coder=bottlenecks.TopK(np.int64(2))),
        families.Student(np.float32(5)),
        likelihoods.Normal(np.float32(0.5)),
        networks.Conv(hidden=np.int64(8)),
        training.Engine(devices=np.int64(1), accumulate=np.int64(2)),
        training.Optimization(np.float32(0.5), clip=np.float64(1)),
        training.Geco(np.float32(3), bounds=np.array([0.1, 2])),
    ],
    ids=lambda part: type(part).__name__,
)
def test_numpy_scalars_are_saved_as_numbers(part):
    text = json.dumps(spec(part))
    assert json.dumps(spec(build(json.loads(text)))) == text
    assert "np." not in repr(part)
