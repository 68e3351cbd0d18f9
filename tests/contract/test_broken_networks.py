"""An honest network passes the contract; each way of breaking it is caught by its rule."""

import math

import pytest
import torch
from torch import nn

import narrows as nw
from narrows.networks.images import check_batch
from narrows.testing import ContractError, check_network


class Checked(nn.Sequential):
    """Layers that refuse another shape than they were made for."""

    def __init__(self, shape, *layers) -> None:
        super().__init__(*layers)
        self.shape = shape

    def forward(self, x):
        check_batch(x, self.shape)
        return super().forward(x)


class Honest(nw.Network):
    """One affine map into four sites, and one back."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def sites(self, shape):
        return (4,)

    def encoder(self, shape, features):
        width = math.prod(shape)
        layers = nn.Linear(width, 4 * features), nn.Unflatten(1, (4, features))
        return Checked(shape, nn.Flatten(), *layers)

    def decoder(self, shape, features, channels):
        target = (channels, *shape[1:])
        layers = nn.Linear(4 * features, math.prod(target)), nn.Unflatten(1, target)
        return Checked((4, features), nn.Flatten(), *layers)


def test_an_honest_network_passes():
    check_network(Honest())
    check_network(Honest(), shape=(7,))


class FeaturesFirst(Honest):
    def encoder(self, shape, features):
        return nn.Sequential(super().encoder(shape, features), nn.Unflatten(0, (-1, 1)))


class TakesAnything(Honest):
    def encoder(self, shape, features):
        width = math.prod(shape)
        cut = type("Cut", (nn.Module,), {"forward": lambda self, x: x.flatten(1)[:, :width]})
        layers = nn.Linear(width, 4 * features), nn.Unflatten(1, (4, features))
        return nn.Sequential(cut(), *layers)


class HoldsWeights(Honest):
    made = None

    def decoder(self, shape, features, channels):
        if HoldsWeights.made is None:
            HoldsWeights.made = super().decoder(shape, features, channels=channels)
        return HoldsWeights.made


class DeadWeight(Honest):
    def encoder(self, shape, features):
        made = super().encoder(shape, features)
        made.register_parameter("unused", nn.Parameter(torch.zeros(3)))
        return made


class LooksAtTheBatch(Honest):
    def encoder(self, shape, features):
        centre = type("Centre", (nn.Module,), {"forward": lambda self, x: x - x.mean(0)})
        return Checked(shape, centre(), *super().encoder(shape, features))


class LosesTheBorder(Honest):
    def encoder(self, shape, features):
        crop = type("Crop", (nn.Module,), {"forward": lambda self, x: x[..., :-1]})
        smaller = (*shape[:-1], shape[-1] - 1)
        return Checked(shape, crop(), *super().encoder(smaller, features))


class ForgetsASite(Honest):
    def decoder(self, shape, features, channels):
        made = super().decoder(shape, features, channels=channels)
        mask = type(
            "Mask",
            (nn.Module,),
            {"forward": lambda self, z: torch.cat([z[:, :3], 0 * z[:, 3:]], 1)},
        )
        return Checked((4, features), mask(), *made)


class Unequal(Honest):
    def __eq__(self, other):
        return self is other

    def __hash__(self):
        return id(self)


@pytest.mark.parametrize(
    ("mutant", "rule"),
    [
        (FeaturesFirst, "shapes_agree"),
        (TakesAnything, "refuses_data_of_another_shape"),
        (HoldsWeights, "each_call_makes_new_weights"),
        (DeadWeight, "gradient_reaches_every_weight"),
        (LooksAtTheBatch, "examples_are_independent_in_eval"),
        (LosesTheBorder, "nothing_is_lost"),
        (ForgetsASite, "nothing_is_lost"),
        (Unequal, "a_description_rebuilds_it"),
    ],
)
def test_each_broken_network_is_caught_by_its_rule(mutant, rule):
    with pytest.raises(ContractError, match=f"^{rule}:"):
        check_network(mutant())


class HalfPrecisionOnly(Honest):
    """Overflows where its input comes in half precision, as an unscaled float16 sum does."""

    def encoder(self, shape, features):
        def forward(_self, z):
            return z * math.inf if z.dtype is torch.bfloat16 else z

        made = super().encoder(shape, features)
        return Checked(shape, *made, type("Overflow", (nn.Module,), {"forward": forward})())


def test_a_network_that_overflows_in_half_precision_is_caught():
    with pytest.raises(ContractError, match="autocast_is_finite"):
        check_network(HalfPrecisionOnly())


OURS = [
    nw.Mlp(hidden=(16,)),
    nw.Mlp(hidden=(), sites=(4,)),
    nw.Conv(hidden=8, residual_hidden=4),
    nw.Conv(hidden=8, residual_hidden=4, downsamplings=0),
    nw.ResNet(hidden=8),
    nw.Transformer(patch=5, dim=8, depth=1, heads=2),
]


@pytest.mark.parametrize("network", OURS, ids=repr)
@pytest.mark.parametrize("shape", [(2, 11, 14), (1, 8, 8)], ids=str)
def test_the_contract_holds(network, shape):
    check_network(network, shape)


def test_the_contract_holds_for_vectors():
    check_network(nw.Mlp(hidden=(16, 8)), (9,))
