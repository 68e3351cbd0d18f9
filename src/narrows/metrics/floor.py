"""A measure of samples beside what real examples would get themselves."""

from collections.abc import Callable

from torch import Tensor


def against_floor(
    measure: Callable[[Tensor, Tensor], float], samples: Tensor, real: Tensor
) -> tuple[float, float]:
    """measure(samples, one half of the real ones), and measure(other half, the same half).

    Both with equally many on either side, because most such measures depend on the number. A
    distance of samples near the floor cannot be told from that of real examples.

    Args:
        measure: of two sets of features `[n, d]`.
        samples: features of samples.
        real: features of held-out real examples, in random order.

    Returns:
        The measure and its real-against-real floor.

    Raises:
        ValueError: if there are fewer than two samples or four real examples.

    Example:
        >>> import torch
        >>> from narrows.metrics.kid import kid
        >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
        <torch._C.Generator object at ...>
        >>> distance, floor = against_floor(kid, torch.randn(200, 8) + 1, torch.randn(400, 8))
        >>> distance > 10 * abs(floor)
        True
    """
    n = min(len(samples), len(real) // 2)
    if n < 2:
        raise ValueError(
            f"expected at least 2 samples and 4 real examples, got {len(samples)} and {len(real)}"
        )
    half, other = real[:n], real[n : 2 * n]
    return measure(samples[:n], half), measure(other, half)
