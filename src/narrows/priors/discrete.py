"""Checks that the learned priors over discrete codes share."""

from torch import Tensor

from narrows.latent import Code
from narrows.priors.base import Prior


def one_code(prior: Prior, code: Code) -> Tensor:
    """The single integer tensor that a code consists of.

    Raises:
        ValueError: if the code has several parts or is continuous.
    """
    if isinstance(code, tuple) or code.is_floating_point():
        kind = f"{len(code)} parts" if isinstance(code, tuple) else str(code.dtype)
        raise ValueError(
            f"{type(prior).__name__}: expected one tensor of integer codes, got {kind}; this "
            "prior is for vector-quantised and other discrete latents"
        )
    return code


def check_codes(prior: Prior, code: Tensor, size: int, channels: int | None) -> None:
    """Refuses codes of another shape or outside 0..size-1.

    Raises:
        ValueError: with what was expected and what came.
    """
    expected = (*prior.sites, *((channels,) if channels else ()))
    if tuple(code.shape[1:]) != expected:
        raise ValueError(
            f"{type(prior).__name__}: expected codes [batch, {', '.join(map(str, expected))}], "
            f"got shape {tuple(code.shape)}; build the prior for the sites of this model"
        )
    if code.numel() and (int(code.min()) < 0 or int(code.max()) >= size):
        raise ValueError(
            f"{type(prior).__name__}: expected codes in 0..{size - 1}, got "
            f"{int(code.min())}..{int(code.max())}; set size to the number of codes"
        )
