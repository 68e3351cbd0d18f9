"""Arithmetic whose results do not depend on the order of summation.

Whoever decodes a file must find the very probabilities that were used to encode it. Floating-point
networks cannot promise that: a sum taken in another order (more threads, another batch size, one
site instead of a whole map) differs in its last bit. Here weights are multiples of 2^-16 below
16, activations multiples of 2^-12 below 256, and everything is computed in float64, whose 53 bits
hold every partial sum of up to 4096 products exactly:

    16 + 12 bits of fraction + 4 + 8 bits of magnitude + 12 bits of summands = 52 <= 53.

An exact sum has one value whatever its order. Functions that are not exactly rounded (tanh, exp)
are looked up in a table; divisions and square roots are exactly rounded by IEEE 754.

Source: the idea of integer networks for entropy coding is of Ballé, Johnston and Minnen (Integer
Networks for Data Compression with Latent-Variable Models, ICLR 2019); they train with integers,
we round a trained network, and let float64 hold the integers so that BLAS does the work.
"""

import copy
import functools
import zlib
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

WEIGHT_BITS = 16
WEIGHT_LIMIT = 16.0
BITS = 12
LIMIT = 256.0
MAX_SUMMANDS = 4096
_TABLE_LIMIT = 16  # beyond it tanh, sigmoid and exp(-x) are 1, 1 and 0 to a grid's width

Module = TypeVar("Module", bound=nn.Module)


def snap(x: Tensor, bits: int = BITS, limit: float = LIMIT) -> Tensor:
    """Rounds to the nearest multiple of 2^-bits within [-limit, limit], in float64.

    Scaling by a power of two is exact, so this is the only rounding that happens.
    """
    scale = float(2**bits)
    return (x.double() * scale).round_().div_(scale).clamp_(-limit, limit)


class Arithmetic(NamedTuple):
    """The functions that a network of a prior is made of, apart from sums and products.

    Attributes:
        round: to the grid of activations.
        tanh: hyperbolic tangent.
        sigmoid: logistic function.
        gelu: Gaussian error linear unit, x Phi(x).
        softmax: over the last axis; -inf counts as absent.
    """

    round: Callable[[Tensor], Tensor]
    tanh: Callable[[Tensor], Tensor]
    sigmoid: Callable[[Tensor], Tensor]
    gelu: Callable[[Tensor], Tensor]
    softmax: Callable[[Tensor], Tensor]


def masses(logits: Tensor) -> Tensor:
    """Integer weights proportional to exp(logits), `[..., K]` int64, at most 2^32 each.

    Args:
        logits: `[..., K]`; rounded to 2^-12. Those more than 16 below the row's largest weigh 2^9
            (so that no symbol is impossible), and -inf weighs 0.
    """
    absent = logits == -torch.inf
    top = logits.amax(-1, keepdim=True)
    depth = (top - logits).masked_fill(absent, 0.0)
    weight = _table("exp", logits.device)[_index(depth)].long()
    return weight.masked_fill(absent, 0)


def draw(weights: Tensor, uniform: Tensor) -> Tensor:
    """Draws from integer weights with uniform float64 numbers `[n]`; exact, `[n]`.

    Args:
        weights: `[n, K]`, or `[K]` for all draws.
        uniform: in [0, 1).
    """
    cumulative = weights.cumsum(-1)
    total = cumulative[..., -1]
    target = (uniform.double() * total.double()).floor().long()
    target = torch.minimum(target, total - 1)
    if weights.dim() == 1:
        return torch.searchsorted(cumulative, target, right=True)
    return torch.searchsorted(cumulative, target[:, None], right=True)[:, 0]


def freeze(module: Module) -> Module:
    """A copy of the module in float64 whose weights lie on the grid and that computes on it.

    Raises:
        ValueError: if a weight is too large for the grid, or a sum too long.
    """
    frozen = copy.deepcopy(module).double().eval().requires_grad_(False)
    for name, weight in frozen.named_parameters():
        if weight.numel() and not bool(weight.abs().max() < WEIGHT_LIMIT):
            raise ValueError(
                f"expected weights below {WEIGHT_LIMIT:g} for exact evaluation, got "
                f"{float(weight.abs().max()):.3g} in {name}; train with weight decay"
            )
        weight.copy_(snap(weight, WEIGHT_BITS, WEIGHT_LIMIT))
    for name, part in frozen.named_modules():
        summands = part.weight[0].numel() if isinstance(part, (nn.Linear, nn.Conv2d)) else 0
        if summands > MAX_SUMMANDS:
            raise ValueError(
                f"expected at most {MAX_SUMMANDS} summands for exact evaluation, got {summands} "
                f"in {name}; make the prior narrower"
            )
        if isinstance(getattr(part, "arithmetic", None), Arithmetic):
            part.__dict__["arithmetic"] = FIXED  # a plain attribute, no submodule
    return frozen


@functools.cache
def tables_checksum() -> int:
    """Names the tables: files are exchanged only between machines that agree on them."""
    return functools.reduce(
        lambda crc, name: zlib.crc32(_values(name).tobytes(), crc), sorted(_FUNCTIONS), 0
    )


def _erf(x: np.ndarray) -> np.ndarray:
    from scipy.special import erf

    return erf(x)


_FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "normal_cdf": lambda x: 0.5 * (1 + _erf(x / np.sqrt(2.0))),
    "exp": lambda x: np.exp(-x),
}


@functools.cache
def _values(name: str) -> np.ndarray:
    size = _TABLE_LIMIT * 2**BITS
    values = _FUNCTIONS[name](np.arange(-size, size + 1) / 2**BITS)
    if name != "exp":
        return np.round(values * 2**BITS) / 2**BITS
    return np.maximum(np.round(np.minimum(values, 1.0) * 2**32), 2**9)


@functools.cache
def _table(name: str, device: torch.device) -> Tensor:
    return torch.from_numpy(_values(name)).to(device)


def _index(x: Tensor) -> Tensor:
    size = _TABLE_LIMIT * 2**BITS
    return (x.double() * 2**BITS).round().clamp(-size, size).long() + size


def _look_up(name: str, x: Tensor) -> Tensor:
    return _table(name, x.device)[_index(x)]


def _unchanged(x: Tensor) -> Tensor:
    return x


def _gelu(x: Tensor) -> Tensor:
    return snap(x * _look_up("normal_cdf", x))


def _softmax(x: Tensor) -> Tensor:
    weights = masses(x).double()
    return snap(weights / weights.sum(-1, keepdim=True), WEIGHT_BITS)


FLOATING = Arithmetic(
    round=_unchanged,
    tanh=torch.tanh,
    sigmoid=torch.sigmoid,
    gelu=nn.functional.gelu,
    softmax=functools.partial(nn.functional.softmax, dim=-1),
)
"""Ordinary arithmetic: what training uses."""

FIXED = Arithmetic(
    round=snap,
    tanh=functools.partial(_look_up, "tanh"),
    sigmoid=functools.partial(_look_up, "sigmoid"),
    gelu=_gelu,
    softmax=_softmax,
)
"""The same on the grid: equal inputs give equal outputs, always and everywhere."""
