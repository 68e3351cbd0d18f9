import pytest
import torch

from narrows.functional.commitment import commit, squared_distance
from narrows.functional.straight_through import straight_through


def test_it_is_the_straight_through_value_and_the_squared_distance():
    torch.manual_seed(0)
    x, code = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    results = []
    for both in (lambda x: (straight_through(x, code), squared_distance(x, code)), None):
        leaf = x.clone().requires_grad_()
        z, distance = both(leaf) if both else commit(leaf, code)
        pull = torch.linspace(-1, 1, z.numel(), dtype=torch.float64).view_as(z)
        weight = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
        ((z * pull).sum() + (distance * weight).sum()).backward()
        results.append((z, distance, leaf.grad))
    for one, two in zip(*results, strict=True):
        assert torch.allclose(one, two, rtol=1e-12)
    assert torch.equal(results[1][0], code)


def test_either_result_may_go_unused_and_the_code_gets_no_gradient():
    x = torch.randn(4, 3, requires_grad=True)
    code = torch.randn(4, 3, requires_grad=True)
    commit(x, code)[0].sum().backward()
    assert torch.equal(x.grad, torch.ones(4, 3))
    x.grad = None
    commit(x, code)[1].sum().backward()
    assert torch.allclose(x.grad, 2 * (x - code).detach())
    assert code.grad is None


def test_shapes_and_dtypes_that_differ_are_refused():
    with pytest.raises(ValueError, match="one shape and dtype"):
        commit(torch.zeros(2, 3), torch.zeros(2, 1))
