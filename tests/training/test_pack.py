import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from narrows.training.pack import pack, unpack
from tests.training.states import equal

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
KEYS = st.text() | st.integers() | st.sampled_from(["$tensor", "$tuple", "$items"])
TENSORS = st.lists(st.floats(width=32), max_size=4).map(torch.tensor)
TREES = st.recursive(
    PLAIN | TENSORS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=12,
)


@given(TREES)
def test_any_tree_comes_back_equal_through_json(tree):
    tensors, plain = pack(tree)
    assert equal(unpack(tensors, json.loads(json.dumps(plain))), tree)


def test_the_state_of_an_optimiser_comes_back_equal():
    model = torch.nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    tensors, plain = pack(optimiser.state_dict())
    assert equal(unpack(tensors, json.loads(json.dumps(plain))), optimiser.state_dict())


def test_tensors_that_share_memory_are_stored_apart():
    base = torch.arange(6.0)
    tensors, _ = pack({"a": base, "b": base, "c": base[2:]})
    places = {tensor.untyped_storage().data_ptr() for tensor in tensors.values()}
    assert len(places) == 3
    assert torch.equal(tensors["c"], base[2:])


def test_what_cannot_be_stored_is_named_by_its_path():
    with pytest.raises(TypeError, match=r"cannot store object at 'model.part.1'"):
        pack({"model": {"part": [1, object()]}})


def test_equality_is_bit_for_bit():
    assert equal(torch.tensor([float("nan")]), torch.tensor([float("nan")]))
    assert not equal(torch.tensor([0.0]), torch.tensor([-0.0]))
    assert not equal(torch.zeros(2), torch.zeros(2, dtype=torch.float64))
    assert not equal(1, 1.0)
