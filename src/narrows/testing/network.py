"""The contract of a network."""

import copy

import torch
from torch import Tensor, nn

from narrows.networks import Network
from narrows.recorded import build, spec
from narrows.testing.contract import (
    apply,
    close,
    must_refuse,
    require,
    require_shape,
    rules_below,
)

FEATURES, CHANNELS = 5, 7
"""Width of the features and of the decoder's output that the rules ask for."""


def check_network(network: Network, shape: tuple[int, ...] = (2, 11, 14), *, seed: int = 0) -> None:
    """Proves the contract for a network, the user's own included.

    Args:
        network: any description of an encoder and a decoder.
        shape: of one example, `(channels, height, width)` or `(d,)`.
        seed: of the weights and data that are drawn.

    Raises:
        ContractError: at the first broken rule, with the rule's name and the evidence.

    Example:
        >>> import narrows as nw
        >>> nw.testing.check_network(nw.Conv(hidden=8, residual_hidden=4))
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        apply(rules_below(check_network), copy.deepcopy(network), torch.rand(4, *shape))


# Each public function below is a rule, and gets its own copy of the network and the data.


def shapes_agree(network: Network, x: Tensor) -> None:
    """Features are [batch, *sites, features], output [batch, channels, ...]; also of no data."""
    encoder, decoder = _pair(network, x)
    for data in (x, x[:0]):
        features = encoder(data)
        sites = network.sites(tuple(x.shape[1:]))
        require_shape(features, (len(data), *sites, FEATURES), "features")
        output = decoder(features)
        require_shape(output, (len(data), CHANNELS, *x.shape[2:]), "the decoder's output")


def refuses_data_of_another_shape(network: Network, x: Tensor) -> None:
    """Encoder and decoder raise ValueError for examples of another shape."""
    encoder, decoder = _pair(network, x)
    wider = torch.cat([x, x], -1)
    must_refuse(lambda: encoder(wider), f"data of shape {tuple(wider.shape)}")
    z = torch.randn(2, *network.sites(tuple(x.shape[1:])), FEATURES + 1)
    must_refuse(lambda: decoder(z), f"z of width {FEATURES + 1} in place of {FEATURES}")


def each_call_makes_new_weights(network: Network, x: Tensor) -> None:
    """The description holds no weights: two encoders (decoders) share none."""
    for one, two in zip(_pair(network, x), _pair(network, x), strict=True):
        shared = {id(p) for p in one.parameters()} & {id(p) for p in two.parameters()}
        require(not shared, "two modules made by one network must not share parameters")


def gradient_reaches_every_weight(network: Network, x: Tensor) -> None:
    """Every parameter of encoder and decoder has a gradient that is finite and not all zero."""
    model = nn.Sequential(*_pair(network, x)).train()
    model(x).square().sum().backward()
    for name, weight in model.named_parameters():
        require(
            weight.grad is not None and bool(weight.grad.isfinite().all() and weight.grad.any()),
            f"the gradient must reach every weight and be finite, but not that of {name}",
        )


def examples_are_independent_in_eval(network: Network, x: Tensor) -> None:
    """In eval an example's output depends on itself alone, and is the same when asked again."""
    model = nn.Sequential(*_pair(network, x)).eval()
    whole = model(x)
    require(torch.equal(whole, model(x)), "eval must be deterministic")
    require(close(whole[:1], model(x[:1])), "an example's output must not depend on its batch")


def nothing_is_lost(network: Network, x: Tensor) -> None:
    """Every number of x reaches the features, and every site of z the output."""
    encoder, decoder = (part.double().eval() for part in _pair(network, x))
    # Of many examples: units of one may all be off.
    x = torch.rand(32, *x.shape[1:], dtype=torch.float64, requires_grad=True)
    features = encoder(x)
    (seen,) = torch.autograd.grad(features.pow(3).sum(), x)
    unseen = int((seen == 0).all(0).sum())
    require(
        unseen == 0,
        f"{unseen} of {x[0].numel()} numbers of an example do not reach the features; pad in place "
        "of cutting",
    )
    z = torch.randn_like(features).requires_grad_()
    (used,) = torch.autograd.grad(decoder(z).pow(3).sum(), z)
    require(bool(used.any(-1).any(0).all()), "every site of z must reach the decoder's output")


def autocast_is_finite(network: Network, x: Tensor) -> None:
    """Forward and backward pass under bfloat16 autocast are finite."""
    model = nn.Sequential(*_pair(network, x)).train()
    with torch.autocast("cpu", torch.bfloat16):
        output = model(x)
    output.float().square().sum().backward()
    finite = all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)
    require(bool(output.isfinite().all()) and finite, "bfloat16 autocast must stay finite")


def a_description_rebuilds_it(network: Network, x: Tensor) -> None:
    """A twin made from the constructor's arguments is equal and makes the same modules."""
    twin = build(spec(network))
    require(
        twin == network and hash(twin) == hash(network),
        "networks made with the same arguments must be equal and have the same hash",
    )
    for one, two in zip(_pair(network, x), _pair(twin, x), strict=True):
        two.load_state_dict(one.state_dict())


def _pair(network: Network, x: Tensor) -> tuple[nn.Module, nn.Module]:
    """An encoder for x, and its decoder, in eval (an empty batch has no statistics)."""
    shape = tuple(x.shape[1:])
    encoder = network.encoder(shape, FEATURES)
    return encoder.eval(), network.decoder(shape, FEATURES, channels=CHANNELS).eval()
