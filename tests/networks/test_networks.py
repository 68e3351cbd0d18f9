"""Facts that hold for every network."""

import pytest
import torch
from torch import nn

from narrows import networks
from narrows.networks.conv import ResidualStack
from narrows.networks.images import Crop, Pad
from narrows.networks.resnet import ResidualBlock
from narrows.networks.transformer import Block
from narrows.recorded import build, spec

IMAGE_NETWORKS = [
    networks.Mlp(hidden=(16,)),
    networks.Mlp(hidden=(), sites=(4,)),
    networks.Conv(hidden=8, residual_hidden=4),
    networks.Conv(hidden=8, residual_hidden=4, downsamplings=0),
    networks.Conv(hidden=8, residual_hidden=4, downsamplings=1),
    networks.Conv(hidden=8, residual_hidden=4, residual_layers=0, downsamplings=3),
    networks.ResNet(hidden=8),
    networks.Transformer(dim=8, depth=1, heads=2),
    networks.Transformer(patch=5, dim=8, depth=1, heads=2),
]
GRIDS = [networks.Conv(), networks.ResNet(), networks.Transformer()]


@pytest.mark.parametrize("network", IMAGE_NETWORKS, ids=repr)
@pytest.mark.parametrize("shape", [(1, 27, 27), (3, 20, 36), (3, 32, 32), (1, 8, 9)])
def test_any_image_comes_back_in_its_own_size(network, shape):
    torch.manual_seed(0)
    features = network.encoder(shape, features=5)(torch.rand(2, *shape))
    assert features.shape == (2, *network.sites(shape), 5)
    assert network.decoder(shape, features=5, channels=7)(features).shape == (2, 7, *shape[1:])


@pytest.mark.parametrize("network", IMAGE_NETWORKS, ids=repr)
def test_gradient_reaches_every_weight(network):
    torch.manual_seed(0)
    shape = (2, 11, 13)
    model = nn.Sequential(network.encoder(shape, 5), network.decoder(shape, 5, channels=2))
    model(torch.rand(3, *shape)).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in model.parameters())


@pytest.mark.parametrize("network", IMAGE_NETWORKS, ids=repr)
def test_examples_do_not_influence_each_other_in_eval(network):
    torch.manual_seed(0)
    shape = (1, 9, 9)
    model = nn.Sequential(network.encoder(shape, 5), network.decoder(shape, 5, channels=1))
    model = model.double().eval()
    x = torch.rand(4, *shape, dtype=torch.float64)
    torch.testing.assert_close(model(x)[:1], model(x[:1]))


@pytest.mark.parametrize("network", IMAGE_NETWORKS, ids=repr)
def test_an_empty_batch_gives_an_empty_batch(network):
    shape = (3, 9, 9)
    model = nn.Sequential(network.encoder(shape, 5), network.decoder(shape, 5, channels=3)).eval()
    assert model(torch.rand(0, *shape)).shape == (0, *shape)


@pytest.mark.parametrize("network", IMAGE_NETWORKS, ids=repr)
def test_every_pixel_matters_and_every_pixel_is_made(network):
    # Padding and cropping must agree: no border pixel is lost on the way in or on the way out.
    torch.manual_seed(0)
    shape = (1, 11, 14)
    encoder = network.encoder(shape, 8).double().eval()
    decoder = network.decoder(shape, 8, channels=1).double().eval()
    x = torch.rand(1, *shape, dtype=torch.float64, requires_grad=True)
    features = encoder(x)
    (seen,) = torch.autograd.grad(features.pow(3).sum(), x)
    assert bool((seen != 0).all())
    z = features.detach().requires_grad_()
    (used,) = torch.autograd.grad(decoder(z).pow(3).sum(), z)
    assert bool((used.abs().sum(-1) > 0).all())


@pytest.mark.parametrize("network", IMAGE_NETWORKS, ids=repr)
def test_a_description_rebuilds_an_equal_network(network):
    again = build(spec(network))
    assert again == network
    assert hash(again) == hash(network)
    assert again != networks.Conv(hidden=9)


@pytest.mark.parametrize("network", GRIDS, ids=repr)
def test_features_of_a_site_lie_side_by_side(network):
    features = network.encoder((3, 32, 32), 6)(torch.rand(2, 3, 32, 32))
    assert features.is_contiguous()


@pytest.mark.parametrize("network", GRIDS, ids=repr)
def test_networks_for_images_refuse_vectors_and_say_which_takes_them(network):
    with pytest.raises(TypeError, match=r"got shape \(64,\); use narrows.networks.Mlp"):
        network.encoder((64,), 4)
    with pytest.raises(TypeError, match="Mlp"):
        network.decoder((64,), 4, channels=64)


@pytest.mark.parametrize("network", GRIDS, ids=repr)
def test_an_image_smaller_than_a_site_is_refused(network):
    with pytest.raises(ValueError, match="3 x 9 pixels is smaller than one site of 4 x 4"):
        network.sites((1, 3, 9))


@pytest.mark.parametrize("network", IMAGE_NETWORKS, ids=repr)
def test_a_batch_of_another_shape_is_refused_with_the_fix(network):
    encoder = network.encoder((3, 9, 9), 4)
    with pytest.raises(ValueError, match=r"permute\(0, 3, 1, 2\)"):
        encoder(torch.rand(2, 9, 9, 3))
    with pytest.raises(ValueError, match="add a batch axis"):
        encoder(torch.rand(3, 9, 9))
    with pytest.raises(ValueError, match=r"expected data of shape \[batch, 3, 9, 9\]"):
        encoder(torch.rand(2, 1, 9, 9))
    decoder = network.decoder((3, 9, 9), 4, channels=3)
    with pytest.raises(ValueError, match="expected z of shape"):
        decoder(torch.rand(2, *network.sites((3, 9, 9)), 5))


@pytest.mark.parametrize(
    "make",
    [
        lambda: networks.Mlp(hidden=(0,)),
        lambda: networks.Mlp(sites=(0,)),
        lambda: networks.Conv(hidden=0),
        lambda: networks.Conv(downsamplings=-1),
        lambda: networks.ResNet(hidden=0),
        lambda: networks.Transformer(depth=0),
        lambda: networks.Transformer(dim=10, heads=3),
    ],
)
def test_impossible_sizes_are_refused_at_construction(make):
    with pytest.raises(ValueError, match=r"must (be at least|divide)"):
        make()


@pytest.mark.parametrize("network", [networks.Mlp(hidden=(16, 8)), networks.Mlp(hidden=())])
def test_vectors_go_through_the_mlp(network):
    features = network.encoder((10,), 3)(torch.rand(4, 10))
    assert features.shape == (4, 3)
    assert network.decoder((10,), 3, channels=30)(features).shape == (4, 30)


def test_an_mlp_without_hidden_layers_is_affine():
    torch.manual_seed(0)
    encoder = networks.Mlp(hidden=()).encoder((1, 4, 4), 3).double()
    x, y = torch.rand(2, 5, 1, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(encoder(0.3 * x + 0.7 * y), 0.3 * encoder(x) + 0.7 * encoder(y))


def test_the_decoder_has_the_encoders_hidden_widths_in_reverse():
    network = networks.Mlp(hidden=(30, 20))
    encoder, decoder = network.encoder((10,), 3), network.decoder((10,), 3, channels=10)
    widths = [
        m.weight.shape for m in [*encoder.modules(), *decoder.modules()] if hasattr(m, "weight")
    ]
    assert widths == [(30, 10), (20, 30), (3, 20), (20, 3), (30, 20), (10, 30)]


@pytest.mark.parametrize(
    ("height", "width", "stride"), [(5, 7, 4), (8, 9, 4), (6, 6, 5), (4, 4, 4)]
)
def test_padding_repeats_the_border_on_both_sides_and_cropping_undoes_it(height, width, stride):
    x = torch.rand(2, 3, height, width)
    padded = Pad((3, height, width), stride)(x)
    assert padded.shape[2] % stride == padded.shape[3] % stride == 0
    assert max(padded.shape[2] - height, padded.shape[3] - width) < stride
    assert torch.equal(Crop((3, height, width), stride)(padded), x)
    top, left = (padded.shape[2] - height) // 2, (padded.shape[3] - width) // 2
    for row in range(padded.shape[2]):
        for column in range(padded.shape[3]):
            source = x[
                :, :, min(max(row - top, 0), height - 1), min(max(column - left, 0), width - 1)
            ]
            assert torch.equal(padded[:, :, row, column], source)


def test_blocks_without_weight_pass_everything_on():
    x = torch.randn(2, 8, 4, 4)
    stack, block, attention = ResidualStack(8, 2, 4), ResidualBlock(8).eval(), Block(4, 2)
    for module in (stack, block, attention):
        for name, parameter in module.named_parameters():
            if "norm" not in name:
                nn.init.zeros_(parameter)
    assert torch.equal(stack(x), x.relu())
    assert torch.equal(block(x), x)
    tokens = torch.randn(2, 9, 4)
    assert torch.equal(attention(tokens), tokens)


def test_conv_has_the_layers_of_the_notebook():
    # Its printed model: (in, out, kernel, stride) of the encoder for CIFAR with 64 features.
    encoder = networks.Conv().encoder((3, 32, 32), 64)
    layers = [
        (m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0])
        for m in encoder.modules()
        if isinstance(m, nn.Conv2d)
    ]
    residual = [(128, 32, 3, 1), (32, 128, 1, 1)]
    assert layers == [
        (3, 64, 4, 2),
        (64, 128, 4, 2),
        (128, 128, 3, 1),
        *residual * 2,
        (128, 64, 1, 1),
    ]
    decoder = networks.Conv().decoder((3, 32, 32), 64, channels=3)
    transposed = [
        (m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0])
        for m in decoder.modules()
        if isinstance(m, nn.ConvTranspose2d)
    ]
    assert transposed == [(128, 64, 4, 2), (64, 3, 4, 2)]


def test_sites_of_a_conv_see_only_their_surroundings_and_those_of_a_transformer_everything():
    torch.manual_seed(0)
    shape = (1, 64, 64)
    x = torch.rand(1, *shape, requires_grad=True)
    for network, local in ((networks.Conv(hidden=8), True), (networks.Transformer(dim=8), False)):
        corner = network.encoder(shape, 4)(x)[0, 0, 0].sum()
        (seen,) = torch.autograd.grad(corner, x)
        assert bool(seen[..., :4, :4].any())
        assert bool(seen[..., 32:, 32:].any()) is not local


def test_bounded_output_lies_in_the_unit_interval_and_wants_a_mean():
    torch.manual_seed(0)
    network = networks.ResNet(hidden=8, bounded=True)
    out = network.decoder((1, 8, 8), 3, channels=1)(100 * torch.randn(4, 2, 2, 3))
    assert 0 <= out.min() < out.max() <= 1
    free = networks.ResNet(hidden=8).decoder((1, 8, 8), 3, channels=1)(
        100 * torch.randn(4, 2, 2, 3)
    )
    assert free.min() < 0 < 1 < free.max()
    with pytest.raises(TypeError, match="likelihood asks for 256"):
        network.decoder((1, 8, 8), 3, channels=256)


@pytest.mark.parametrize("network", IMAGE_NETWORKS, ids=repr)
def test_bfloat16_autocast_runs_forward_and_back(network):
    torch.manual_seed(0)
    shape = (3, 9, 10)
    model = nn.Sequential(network.encoder(shape, 5), network.decoder(shape, 5, channels=3))
    with torch.autocast("cpu", torch.bfloat16):
        out = model(torch.rand(2, *shape))
    out.float().square().sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())
