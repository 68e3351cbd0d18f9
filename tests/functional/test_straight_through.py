import pytest
import torch

from narrows.functional.straight_through import straight_through


def test_the_value_is_the_code_bit_for_bit():
    # x + (code - x) would lose the code next to a large x.
    x, code = torch.tensor([1e8, -3.0]), torch.tensor([0.1, 0.2])
    assert torch.equal(straight_through(x, code), code)
    assert not torch.equal(x + (code - x), code)


def test_the_gradient_is_the_identity_to_the_features_and_none_to_the_code():
    x = torch.randn(3, 4, requires_grad=True)
    code = torch.randn(3, 4, requires_grad=True)
    cotangent = torch.randn(3, 4)
    straight_through(x, code).backward(cotangent)
    assert torch.equal(x.grad, cotangent)
    assert code.grad is None


def test_other_shapes_and_dtypes_are_refused():
    with pytest.raises(ValueError, match="one shape and dtype"):
        straight_through(torch.zeros(2), torch.zeros(3))
    with pytest.raises(ValueError, match="one shape and dtype"):
        straight_through(torch.zeros(2), torch.zeros(2).double())
