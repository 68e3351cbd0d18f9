"""Gradients through random choices: score function, Gumbel-softmax, VIMCO."""

import math

import torch
from torch import Tensor


def leave_one_out(cost: Tensor) -> Tensor:
    """Each draw's cost less the mean cost of the other draws of the same example.

    1/K sum_k signal_k grad log q(z_k) is an unbiased estimate of grad E_q cost, since the
    others' mean does not depend on z_k; it takes away what all draws share.

    Args:
        cost: `[K, batch]`, nats; K at least 2.

    Raises:
        ValueError: if there is one draw only.

    Source: Kool, van Hoof & Welling (2019), "Buy 4 REINFORCE samples, get a baseline for free".

    Example:
        >>> import torch
        >>> leave_one_out(torch.tensor([[3.0], [1.0]])).flatten()
        tensor([ 2., -2.])
    """
    draws = cost.shape[0]
    if draws < 2:
        raise ValueError(f"the others' mean needs 2 or more draws, got {draws}")
    return (cost - cost.mean(0)) * (draws / (draws - 1))


def score_function_surrogate(signal: Tensor, log_q: Tensor) -> Tensor:
    """A tensor of zeros whose gradient is signal * grad log_q.

    Added to a loss, it leaves the value what it was, the same in training and evaluation.
    """
    product = signal.detach() * log_q
    return product - product.detach()


def gumbel(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Standard Gumbel draws, -log E with E exponential, of the shape of `like`."""
    return -torch.empty_like(like).exponential_(generator=generator).log()


def gumbel_softmax(
    logits: Tensor, temperature: float | Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Points of the simplex near its corners: softmax((logits + gumbel) / temperature).

    Their largest entry is an exact draw from softmax(logits) at any temperature; as the
    temperature falls they become that draw's one-hot vector, and the gradient's variance grows.

    Args:
        logits: `[..., K]`, unnormalised.
        temperature: above 0.
        generator: of the draws.

    Raises:
        ValueError: if the temperature is not above 0.

    Source: Jang, Gu & Poole (2017), eq. 2; Maddison, Mnih & Teh (2017).

    Example:
        >>> gumbel_softmax(torch.zeros(5, 3), 0.5).shape
        torch.Size([5, 3])
    """
    if not torch.compiler.is_compiling() and not temperature > 0:
        raise ValueError(f"gumbel_softmax: temperature must be above 0, got {temperature}")
    return ((logits + gumbel(logits, generator)) / temperature).softmax(-1)


def log_mean_exp(log_weights: Tensor, dim: int = 0) -> Tensor:
    """Log of the mean weight: the importance-weighted bound log 1/K sum_k w_k.

    Its expectation never exceeds log p(x) and never falls as K grows; K = 1 gives the ELBO.

    Args:
        log_weights: `[..., K, ...]`, nats.
        dim: the axis of the K draws.

    Source: Burda, Grosse & Salakhutdinov (2016), eq. 8.

    Example:
        >>> log_mean_exp(torch.tensor([0.0, 0.0]))
        tensor(0.)
    """
    return log_weights.logsumexp(dim) - math.log(log_weights.shape[dim])


def effective_sample_size(log_weights: Tensor, dim: int = 0) -> Tensor:
    """(sum w)^2 / sum w^2, between 1 and K: how many draws the bound really rests on.

    Args:
        log_weights: `[..., K, ...]`, nats.
        dim: the axis of the K draws.

    Source: Kong (1992).

    Example:
        >>> effective_sample_size(torch.tensor([0.0, 0.0, -1000.0]))
        tensor(2.)
    """
    return (2 * log_weights.logsumexp(dim) - (2 * log_weights).logsumexp(dim)).exp()


def vimco_signals(log_weights: Tensor) -> Tensor:
    """The learning signal of each draw in the importance-weighted bound, `[K, batch]`.

    signal_j = L - log 1/K (sum_{i != j} w_i + exp(mean_{i != j} log w_i)): the bound less what
    it would be with draw j replaced by the others' geometric mean. signal_j grad log q(z_j),
    summed over j, is an unbiased estimate of the score-function part of grad L.

    Args:
        log_weights: `[K, batch]`, nats; K at least 2.

    Raises:
        ValueError: if there is one draw only.

    Source: Mnih & Rezende (2016), eq. 9 and 10.
    """
    draws = log_weights.shape[0]
    if draws < 2:
        raise ValueError(f"VIMCO compares draws with each other: take 2 or more, got {draws}")
    others = (log_weights.sum(0) - log_weights) / (draws - 1)
    # [j, i]: draw i's log weight, but for i = j the others' mean.
    own = torch.eye(draws, dtype=torch.bool, device=log_weights.device)[..., None]
    replaced = torch.where(own, others[:, None], log_weights[None])
    return log_mean_exp(log_weights) - log_mean_exp(replaced, 1)
