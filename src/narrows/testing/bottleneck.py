"""The contract of a bottleneck."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from narrows.bottlenecks.base import Bottleneck
from narrows.codes import Code, tensors
from narrows.latent import Latent
from narrows.testing.contract import (
    ContractError,
    apply,
    close,
    must_refuse,
    random_numbers_untouched,
    require,
    require_finite,
    require_per_example,
    require_shape,
    require_unchanged,
    rules_below,
    same,
    state,
    twin_of,
)


def check_bottleneck(
    bottleneck: Bottleneck,
    sites: tuple[int, ...] = (2, 3),
    *,
    seed: int = 0,
    export: bool = True,
) -> None:
    """Proves the contract for a bottleneck, the user's own included.

    The checked copy is exercised as constructed and again after a few training updates; the
    object passed in is left as it was.

    Args:
        bottleneck: any instance.
        sites: the grid of sites to code; a bottleneck made for one grid needs that grid.
        seed: of the features that are drawn.
        export: whether `torch.export` is tried too (seconds; the other rules take less).

    Raises:
        ContractError: at the first broken rule, with the rule's name and the evidence.

    Example:
        >>> import narrows as nw
        >>> nw.testing.check_bottleneck(nw.bottlenecks.Identity(4), export=False)
    """
    rules = [rule for rule in rules_below(check_bottleneck) if rule is not exports]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        subject = copy.deepcopy(bottleneck)
        features = torch.randn(24, *sites, subject.in_features)
        apply([*rules, exports] if export else rules, subject, features)
        trained = copy.deepcopy(subject).train()
        for _ in range(3):
            trained.update([trained(torch.randn_like(features)) for _ in range(2)])
        apply(rules, trained, features)


# Each public function below is a rule, and gets its own copy of the bottleneck and the features.


def shapes_agree(bottleneck: Bottleneck, features: Tensor) -> None:
    """z is [batch, *sites, out_features]; code, terms and log_q start with the batch axis."""
    expected = (*features.shape[:-1], bottleneck.out_features)
    for latent in _both_modes(bottleneck, features):
        require_shape(latent.z, expected, "z")
        require(latent.z.is_floating_point(), f"z must be floating-point, got {latent.z.dtype}")
        for part in tensors(latent.code):
            require(
                part.shape[:1] == features.shape[:1],
                f"every part of the code must start with the batch axis {features.shape[0]}, "
                f"got shape {tuple(part.shape)}",
            )
        for name, term in latent.terms.items():
            require_per_example(term, len(features), f"term {name!r}")
        unknown = set(bottleneck.weights) - set(latent.terms)
        require(not unknown, f"weights name terms that the latent lacks: {sorted(unknown)}")
        for name, value in latent.stats.items():
            require(not value.requires_grad, f"stats must be detached, {name!r} is not")
        require(not latent.features.requires_grad, "latent.features must be detached")


def refuses_what_cannot_be_coded(bottleneck: Bottleneck, features: Tensor) -> None:
    """NaN, infinity, integers and another width raise ValueError in both modes."""
    for value in (float("nan"), float("inf")):
        broken = features.clone()
        broken[3].view(-1)[0] = value
        _must_refuse(bottleneck, broken, f"features containing {value}")
    _must_refuse(bottleneck, torch.cat([features, features], -1), "features of twice the width")
    _must_refuse(bottleneck, features.long(), "integer features")


def codes_are_as_declared(bottleneck: Bottleneck, features: Tensor) -> None:
    """In eval, codes lie in the space that `bottleneck.codes` describes."""
    code = bottleneck.eval()(features).code
    try:
        bottleneck.codes.check(code)
    except ValueError as error:
        raise ContractError(f"codes must be {bottleneck.codes}, as declared; {error}") from error


def forward_changes_no_state(bottleneck: Bottleneck, features: Tensor) -> None:
    """forward and embed leave the state bit-identical, in training and in eval."""
    before = state(bottleneck)
    for mode in (True, False):
        bottleneck.train(mode)
        latent = bottleneck(features)
        bottleneck.embed(latent.code)
        require_unchanged(bottleneck, before, f"forward in {'training' if mode else 'eval'}")


def update_is_self_contained(bottleneck: Bottleneck, features: Tensor) -> None:
    """update leaves finite state and neither it nor eval touches the caller's random numbers."""
    bottleneck.train()
    latents = [bottleneck(features), bottleneck(features + 0.1)]
    with random_numbers_untouched("update() and eval"):
        bottleneck.update(latents)
        bottleneck.eval()
        bottleneck(features)
    require_finite(bottleneck, "update()")


def eval_is_deterministic(bottleneck: Bottleneck, features: Tensor) -> None:
    """Coding twice in eval gives the same code."""
    bottleneck.eval()
    require(
        same(bottleneck(features).code, bottleneck(features).code),
        "two codings of the same features in eval must be equal",
    )


def decoder_sees_only_the_code(bottleneck: Bottleneck, features: Tensor) -> None:
    """embed(code) == z, in both modes: nothing else of x reaches the decoder."""
    for mode in (False, True):
        bottleneck.train(mode)
        latent = bottleneck(features)
        error = (bottleneck.embed(latent.code) - latent.z).abs().max().item()
        scale = max(1.0, latent.z.abs().max().item())
        # Exact in eval; in training a straight-through sum may round.
        limit = 0.0 if not mode else 4 * torch.finfo(latent.z.dtype).eps * scale
        require(
            error <= limit,
            f"embed(code) must equal z {'in training' if mode else 'in eval'}, differs by "
            f"{error:.3g}: the decoder would see more than the code",
        )


def codes_follow_the_features(bottleneck: Bottleneck, features: Tensor) -> None:
    """Where z lives among the features, it is nearer to its own example than to others."""
    if bottleneck.in_features != bottleneck.out_features:
        return
    bottleneck.eval()
    z = bottleneck(features).z.flatten(0, -2)
    rows = features.flatten(0, -2)
    distances = torch.cdist(z.double(), rows.double()).square()
    own = distances.diagonal().mean().item()
    other = distances.mean().item()
    require(
        own < other,
        f"z must lie nearer to the features it codes than to others, but its mean squared "
        f"distance is {own:.3g} to its own and {other:.3g} to others': is the farthest code "
        "taken for the nearest?",
    )


def gradient_is_as_declared(bottleneck: Bottleneck, features: Tensor) -> None:
    """d z / d features is what `bottleneck.gradient` says."""
    for mode in (False, True):
        bottleneck.train(mode).double()
        x = features.double().requires_grad_()
        torch.manual_seed(0)
        z = bottleneck(x).z
        if bottleneck.gradient == "straight_through":
            cotangent = torch.randn_like(z)
            (got,) = torch.autograd.grad(z, x, cotangent)
            require(
                torch.allclose(got, cotangent, rtol=1e-9, atol=1e-9),
                "a straight-through gradient must be the identity, got "
                f"{(got * cotangent).sum() / cotangent.square().sum():.3g} times it",
            )
        elif bottleneck.gradient == "exact":
            _gradient_matches_differences(bottleneck, x, z)
        else:
            (got,) = torch.autograd.grad(z.sum(), x)
            require(bool(got.isfinite().all()), "the estimated gradient must be finite")


def _gradient_matches_differences(bottleneck: Bottleneck, x: Tensor, z: Tensor) -> None:
    direction, cotangent, step = torch.randn_like(x), torch.randn_like(z), 1e-6
    (gradient,) = torch.autograd.grad(z, x, cotangent)
    ends = []
    for sign in (1, -1):
        torch.manual_seed(0)  # the same draw on both sides
        ends.append(bottleneck(x.detach() + sign * step * direction).z)
    slope = ((ends[0] - ends[1]) / (2 * step) * cotangent).flatten(1).sum(1)
    analytic = (gradient * direction).flatten(1).sum(1)
    agree = torch.isclose(analytic, slope, rtol=1e-3, atol=1e-5).double().mean().item()
    # A few examples may straddle a kink of a piecewise smooth code.
    require(
        agree >= 0.9,
        f"an exact gradient must match finite differences; it does for {agree:.0%} of examples",
    )


def codes_do_not_depend_on_the_batch(bottleneck: Bottleneck, features: Tensor) -> None:
    """An example's code is the same alone, in a batch, and in a permuted batch."""
    bottleneck.eval()
    whole = tensors(bottleneck(features).code)
    order = torch.randperm(len(features))
    permuted = tensors(bottleneck(features[order]).code)
    for row in (0, len(features) - 1):
        alone = tensors(bottleneck(features[row : row + 1]).code)
        for one, many in zip(alone, whole, strict=True):
            require(close(one[0], many[row]), "an example's code must not depend on its batch")
    for many, shuffled in zip(whole, permuted, strict=True):
        require(
            close(many[order], shuffled),
            "permuting the batch must permute the codes and change nothing else",
        )


def sites_are_coded_alone(bottleneck: Bottleneck, features: Tensor) -> None:
    """Where `per_site` holds, a change at one site changes z at that site only."""
    if not bottleneck.per_site or features.dim() < 3:
        return
    bottleneck.eval()
    z = bottleneck(features).z.flatten(1, -2)
    touched = features.clone()
    touched.flatten(1, -2)[:, 0] += 3.0
    elsewhere = bottleneck(touched).z.flatten(1, -2)[:, 1:]
    require(
        close(z[:, 1:], elsewhere),
        "a change at one site changed the code of another; is an axis permuted or viewed wrongly?",
    )


def precision_does_not_change_codes(bottleneck: Bottleneck, features: Tensor) -> None:
    """Half-precision features and autocast are coded in float32 or better."""
    bottleneck.eval()
    half = features.bfloat16()
    code = bottleneck(half.float()).code
    require(
        same(code, bottleneck(half).code),
        "bfloat16 features must give the code of the same values in float32",
    )
    with torch.autocast("cpu", torch.bfloat16):
        under = bottleneck(half.float()).code
    require(same(code, under), "autocast must not change the code")


def empty_batches_work(bottleneck: Bottleneck, features: Tensor) -> None:
    """A batch of no examples gives a latent of no examples."""
    for latent in _both_modes(bottleneck, features[:0]):
        expected = (0, *features.shape[1:-1], bottleneck.out_features)
        require_shape(latent.z, expected, "z of an empty batch")


def stats_are_additive(bottleneck: Bottleneck, features: Tensor) -> None:
    """Stats of a batch equal the sums of the stats of its halves."""
    bottleneck.eval()
    whole = bottleneck(features).stats
    halves = [bottleneck(half).stats for half in features.chunk(2)]
    for name, value in whole.items():
        total = sum(half[name].double() for half in halves)
        require(
            torch.allclose(value.double(), torch.as_tensor(total), rtol=1e-4, atol=1e-4),
            f"stats must be totals that add up over batches, {name!r} is not",
        )


def state_can_be_saved(bottleneck: Bottleneck, features: Tensor) -> None:
    """A twin made from the constructor's arguments and the state_dict codes alike."""
    twin = twin_of(bottleneck)
    require(
        same(bottleneck.eval()(features).code, twin.eval()(features).code),
        "a twin with the same arguments and state_dict must give the same codes",
    )


def prior_fits_the_code(bottleneck: Bottleneck, features: Tensor) -> None:
    """The default prior prices the code if it has a rate, refuses if not; samples embed."""
    sites = tuple(features.shape[1:-1])
    prior = bottleneck.default_prior(sites)
    latent = bottleneck.eval()(features)
    if latent.has_rate:
        require_per_example(prior.rate(latent), len(features), "the prior's rate")
    else:
        try:
            prior.rate(latent)
        except ValueError:
            return  # nothing can be drawn from it either before it is fitted
        raise ContractError(
            "the rate of a deterministic continuous code is infinite; "
            "the prior must raise ValueError"
        )
    z = bottleneck.embed(prior.sample(5))
    require_shape(z, (5, *sites, bottleneck.out_features), "embed(prior.sample(5))")


def exports(bottleneck: Bottleneck, features: Tensor) -> None:
    """`torch.export` of coding in eval gives the same codes."""

    class Coding(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bottleneck = bottleneck

        def forward(self, x: Tensor) -> Code:
            return self.bottleneck(x).code

    module = Coding().eval()
    try:
        program = torch.export.export(module, (features,))
    except Exception as error:
        raise ContractError(f"torch.export of eval failed: {error}") from error
    codes = zip(tensors(program.module()(features)), tensors(module(features)), strict=True)
    require(all(close(one, two) for one, two in codes), "the exported program codes otherwise")


def _must_refuse(bottleneck: Bottleneck, features: Tensor, what: str) -> None:
    for mode in (True, False):
        bottleneck.train(mode)
        must_refuse(lambda: bottleneck(features), f"{what} {'in training' if mode else 'in eval'}")


def _both_modes(bottleneck: Bottleneck, features: Tensor) -> Iterator[Latent]:
    for mode in (True, False):
        bottleneck.train(mode)
        yield bottleneck(features)
