"""A network taken in parts gives what it gives as a whole, and remembers it once."""

import pytest
import torch
from torch import nn

from narrows.functional.in_parts import in_parts


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def gradients(network, x, size):
    """Output and all gradients of a loss in which rows meet."""
    x = x.clone().requires_grad_()
    network.zero_grad()
    out = in_parts(network, x, size=size)
    (out.std() + out.square().mean()).backward()
    return [out.detach(), x.grad, *(p.grad.clone() for p in network.parameters())]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_output_and_gradients_are_those_of_the_whole(size):
    network = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.GELU(), nn.Conv2d(4, 3, 1)).double()
    x = torch.randn(5, 2, 4, 4, dtype=torch.float64)
    for part, whole in zip(gradients(network, x, size), gradients(network, x, None), strict=True):
        torch.testing.assert_close(part, whole, rtol=1e-12, atol=1e-12)


def test_a_part_is_computed_twice_and_never_more_than_one_at_a_time():
    rows = []
    network = nn.Linear(3, 2)
    network.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    gradients(network, torch.randn(5, 3), size=2)
    assert rows == [2, 2, 1, 1, 2, 2]  # forwards, then backwards from the last


def test_without_a_gradient_nothing_is_cut():
    rows = []
    network = nn.Linear(3, 2)
    network.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    with torch.no_grad():
        in_parts(network, torch.randn(5, 3), size=2)
    assert rows == [5]


def test_running_moments_follow_each_part_once():
    x = torch.randn(6, 3)
    network, twin = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    gradients(network, x, size=2)
    for part in x.split(2):
        twin(part)
    assert int(network.num_batches_tracked) == 3
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, twin.state_dict()[name])


def test_the_second_pass_drops_what_the_first_dropped():
    network = nn.Sequential(nn.Dropout(0.5))
    x = torch.ones(8, 50, requires_grad=True)
    out = in_parts(network, x, size=2)
    state = torch.random.get_rng_state()
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())  # 2 where kept, 0 where dropped
    assert 0 < float((out == 0).double().mean()) < 1
    assert torch.equal(state, torch.random.get_rng_state())


def test_the_layout_in_memory_is_that_of_the_whole():
    """Random numbers are drawn in the order of memory: the same for parts and whole."""

    class Last(nn.Module):
        def forward(self, x):
            return (2 * x).permute(0, 2, 3, 1)

    x = torch.randn(4, 3, 2, 5, requires_grad=True)
    whole = Last()(x)
    assert in_parts(Last(), x, size=2).stride() == whole.stride()
    assert not whole.is_contiguous()
