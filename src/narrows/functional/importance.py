"""Importance-weighted bounds from log weights log w = log p(x, z) - log q(z | x), in nats."""

import math

import torch
from torch import Tensor


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
