"""How much of a codebook a whole set of examples uses."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def tally(index: Tensor, size: int) -> Tensor:
    """How often each of `size` indices occurs, int64; indices below 0 are not counted.

    Example:
        >>> tally(torch.tensor([[0, 2], [2, -1]]), 4)
        tensor([1, 0, 2, 0])
    """
    # Not bincount: its output has a shape that torch.compile cannot know.
    flat = index.flatten()
    valid = (flat >= 0).to(flat.dtype)
    return flat.new_zeros(size).index_add_(0, flat.clamp_min(0), valid)


def usage(counts: Tensor) -> dict[str, float]:
    """Measures of a codebook from how often each code was used over a whole set.

    With p_k = n_k / n: `entropy_bits` = -sum p_k log2 p_k, bits per code; `perplexity` =
    2^entropy, K where all K codes are used alike and 1 where one is used alone; `usage`, the
    fraction of codes used at all; `dead_codes`, the number of the others.

    Taken over a batch these mislead: a batch of 64 codes cannot use more than 64.

    Args:
        counts: `[size]`, summed over the set.

    Example:
        >>> usage(torch.tensor([2, 2, 0, 0]))
        {'usage': 0.5, 'perplexity': 2.0, 'entropy_bits': 1.0, 'dead_codes': 2.0}
    """
    counts = counts.double()
    p = counts / counts.sum().clamp_min(1)
    entropy = float(-torch.xlogy(p, p).sum() / math.log(2)) if bool(counts.sum() > 0) else 0.0
    used = int((counts > 0).sum())
    return {
        "usage": used / counts.numel(),
        "perplexity": 2.0**entropy if used else 0.0,
        "entropy_bits": entropy,
        "dead_codes": float(counts.numel() - used),
    }


def usage_advice(
    summary: Mapping[str, float], size: int, remedies: Sequence[str] = ()
) -> list[str]:
    """What to try where less than half of a codebook is used.

    Args:
        summary: what `usage` returned.
        size: number of codes.
        remedies: what else this quantiser can be told to do.
    """
    if summary["usage"] >= 0.5:
        return []
    others = "".join(f"{remedy}, " for remedy in remedies)
    return [
        f"only {summary['usage']:.0%} of the {size} codes are used ({summary['dead_codes']:.0f} "
        f"are dead; perplexity {summary['perplexity']:.0f}): {others}{'or ' if others else ''}"
        f"take a smaller size: {size} codes cost {max(1, (size - 1).bit_length())} bits a site, "
        "used or not"
    ]
