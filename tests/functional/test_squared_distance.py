import pytest
import torch

from narrows.functional.commitment import squared_distance


def _pair(*shape):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for _ in range(2)
    ]


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4, 5), (0, 3)])
def test_it_is_the_sum_of_squares_of_each_example(shape):
    one, two = _pair(*shape)
    expected = ((one - two) ** 2).reshape(shape[0], -1).sum(1) if shape[0] else torch.zeros(0)
    assert torch.allclose(squared_distance(one, two), expected.double())


def test_its_gradient_matches_finite_differences_in_both_arguments():
    assert torch.autograd.gradcheck(squared_distance, _pair(3, 2, 2))
    one, two = _pair(3, 2)
    assert torch.autograd.gradcheck(lambda x: squared_distance(x, two.detach()), (one,))
    assert torch.autograd.gradgradcheck(squared_distance, (one, two))


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match="of one shape"):
        squared_distance(torch.zeros(2, 3), torch.zeros(2, 1))
