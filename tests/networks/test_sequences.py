"""Networks of sequences: the same layers along one axis."""

import pytest
import torch
from torch import nn

import narrows as nw
from narrows.testing import check_network

SEQUENCES = [
    (nw.Conv(hidden=8, residual_hidden=4), (2, 37)),
    (nw.Conv(hidden=8, residual_hidden=4, downsamplings=0), (1, 5)),
    (nw.Conv(hidden=8, residual_hidden=4, residual_layers=0, downsamplings=5), (1, 100)),
    (nw.Transformer(patch=1, dim=8, depth=1, heads=2), (7, 5)),
    (nw.Transformer(patch=3, dim=8, depth=1, heads=2), (7, 2)),
    (nw.Mlp(hidden=(16,)), (3, 11)),
]


@pytest.mark.parametrize(("network", "shape"), SEQUENCES, ids=str)
def test_networks_of_sequences_keep_the_contract(network, shape):
    check_network(network, shape)


def lifted(one: nn.Module, two: nn.Module, row: int = 1) -> None:
    """Puts the kernels of a 1-D network into a row of those of a 2-D one, 0 elsewhere."""
    state = two.state_dict()
    for name, value in one.state_dict().items():
        wide = state[name]
        if wide.dim() == 4:
            wide.zero_()
            wide[:, :, row if wide.shape[2] > 1 else 0] = value
        else:
            wide.copy_(value)


@pytest.mark.parametrize("downsamplings", [0, 1])
def test_a_sequence_is_an_image_whose_other_rows_are_not_looked_at(downsamplings):
    torch.manual_seed(0)
    network = nw.Conv(hidden=6, residual_hidden=3, downsamplings=downsamplings)
    length, height = 22, 2**downsamplings
    one = network.encoder((2, length), 5).double()
    two = network.encoder((2, height, length), 5).double()
    lifted(one, two)
    x = torch.randn(3, 2, height, length, dtype=torch.float64)
    features = one(x[:, :, 0])
    torch.testing.assert_close(features, two(x)[:, 0])
    one = network.decoder((2, length), 5, channels=2).double()
    two = network.decoder((2, height, length), 5, channels=2).double()
    lifted(one, two)
    torch.testing.assert_close(one(features), two(features[:, None])[:, :, 0])


def test_the_tokens_of_a_transformer_are_steps_whose_order_only_positions_tell():
    torch.manual_seed(0)
    encoder = nw.Transformer(patch=1, dim=8, depth=2, heads=2).encoder((9, 4), 3).double()
    for name, value in encoder.named_parameters():
        if "positions" in name:
            nn.init.zeros_(value)
    x, order = torch.randn(2, 9, 4, dtype=torch.float64), torch.randperm(9)
    torch.testing.assert_close(encoder(x[:, order]), encoder(x)[:, order])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nw.Conv().sites((1, 3)), ValueError, "a sequence of 3 steps is smaller than one"),
        (lambda: nw.Conv().sites((8,)), TypeError, r"or sequences of shape \(channels, t\)"),
        (lambda: nw.Transformer(patch=4).sites((3, 9)), ValueError, "a sequence of 3 steps"),
        (
            lambda: nw.Transformer().decoder((8, 3), 4, channels=16),
            TypeError,
            "one number per value",
        ),
        (lambda: nw.ResNet().sites((1, 40)), TypeError, "expected images"),
    ],
)
def test_what_does_not_fit_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
