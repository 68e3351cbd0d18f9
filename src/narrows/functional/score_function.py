"""Signals that multiply grad log q(z | x) where a draw has no gradient of its own."""

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


def carrier(signal: Tensor, log_q: Tensor) -> Tensor:
    """A tensor of zeros whose gradient is signal * grad log_q.

    Added to a loss, it leaves the value what it was, the same in training and evaluation.
    """
    product = signal.detach() * log_q
    return product - product.detach()
