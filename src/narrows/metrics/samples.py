"""Distances between sets of samples and data."""

from collections.abc import Callable

import torch
from torch import Tensor


def kid(first: Tensor, second: Tensor) -> float:
    """Squared maximum mean discrepancy under k(a, b) = (a b / d + 1)^3, without unit.

    Unbiased: 0 on average for two sets from the same distribution, and so sometimes below 0.
    Print it beside the same for two sets of real examples (`against_floor`). It depends on the
    features and means nothing beside figures made with others.

    Args:
        first: features `[n, d]`, n at least 2.
        second: features `[m, d]`.

    Raises:
        ValueError: unless both are sets of at least two features of one width.

    Source: Binkowski et al. (2018), section 3, equation 4 of Gretton et al. (2012); over the
        whole sets, in the place of a mean over subsets.
    """
    check_features(first, second)
    first, second = first.double(), second.double()  # cubes cancel in float32
    within = _off_diagonal(first) + _off_diagonal(second)
    return (within - 2 * _kernel(first, second).mean()).item()


def _kernel(first: Tensor, second: Tensor) -> Tensor:
    return (first @ second.mT / first.shape[1] + 1) ** 3


def _off_diagonal(features: Tensor) -> Tensor:
    kernel = _kernel(features, features)
    n = len(features)
    return (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))


def check_features(first: Tensor, second: Tensor, least: int = 2) -> None:
    """Raises ValueError unless both are finite `[n, d]` with at least `least` rows."""
    for features in (first, second):
        if features.dim() != 2 or len(features) < least or features.shape[1] != first.shape[1]:
            raise ValueError(
                f"expected two sets of at least {least} features [n, d] of one width, got "
                f"{tuple(first.shape)} and {tuple(second.shape)}"
            )
        if not bool(features.isfinite().all()):
            raise ValueError("features are NaN or infinite: the samples are broken")


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """|m_1 - m_2|^2 + tr(C_1 + C_2 - 2 (C_1^{1/2} C_2 C_1^{1/2})^{1/2}), in squared features.

    Biased upwards by the number of samples: two sets from the same distribution are above 0,
    by more the fewer they are. So both sets need the same fixed size, and the figure belongs
    beside the same for two sets of real examples (`against_floor`).

    Args:
        first: features `[n, d]`, with n above d.
        second: features `[m, d]`, with m above d.

    Raises:
        ValueError: where there are too few features for a covariance.

    Source: Heusel et al. (2017), equation 6, in other features; Dowson & Landau (1982).
    """
    check_features(first, second, least=first.shape[-1] + 1)
    first, second = first.double(), second.double()
    root = _root(first.mT.cov())
    cross = _root(root @ second.mT.cov() @ root)
    spread = first.mT.cov().trace() + second.mT.cov().trace() - 2 * cross.trace()
    return ((first.mean(0) - second.mean(0)).square().sum() + spread).item()


def _root(matrix: Tensor) -> Tensor:
    """Square root of a positive semidefinite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.mT


def precision_recall(samples: Tensor, real: Tensor, *, k: int = 3) -> dict[str, float]:
    """Shares of each set inside the other's k-nearest-neighbour balls.

    Precision: samples within the ball of a real example, whose radius is the distance to its
    k-th nearest other real example; recall with the roles exchanged. Density counts how many
    balls a sample lies in (over k; above 1 in crowded regions), coverage the real examples
    whose ball holds a sample; both resist outliers, which give enormous balls.

    Args:
        samples: features `[n, d]`.
        real: features `[m, d]`, m like n: both depend on the numbers.
        k: neighbour that sets a ball's radius.

    Returns:
        `precision`, `recall`, `density`, `coverage`.

    Raises:
        ValueError: if a set has no k-th neighbour.

    Source: Kynkaanniemi et al. (2019), equations 1-2, k = 3; Naeem et al. (2020), equations 5
        and 6 (they take k = 5).
    """
    check_features(samples, real, least=k + 1)
    distances = _distances(samples, real)
    inside_real = distances <= _radii(real, k)
    inside_samples = distances <= _radii(samples, k)[:, None]
    return {
        "precision": inside_real.any(1).double().mean().item(),
        "recall": inside_samples.any(0).double().mean().item(),
        "density": inside_real.sum(1).double().mean().item() / k,
        "coverage": inside_real.any(0).double().mean().item(),
    }


def _radii(features: Tensor, k: int) -> Tensor:
    """Distance of each to its k-th nearest other one."""
    # The nearest is the point itself, at distance 0.
    return _distances(features, features).kthvalue(k + 1, dim=1).values


def _distances(first: Tensor, second: Tensor) -> Tensor:
    """By differences in float64: the expanded square loses all digits far from the origin."""
    mode = "donot_use_mm_for_euclid_dist"
    return torch.cdist(first.double(), second.double(), compute_mode=mode)


def one_nearest_neighbour_accuracy(samples: Tensor, real: Tensor) -> float:
    """Leave-one-out accuracy of the nearest neighbour in telling the two sets apart.

    1/2: it cannot. 1: every sample is nearest to a sample and every real example to a real one.
    Below 1/2: samples sit on real examples, as memorised ones do.

    Args:
        samples: features `[n, d]`.
        real: features `[n, d]`, as many.

    Raises:
        ValueError: if the sets differ in size, which would move the meaning of 1/2.

    Source: Lopez-Paz & Oquab (2017), section 3, with the classifier of section 5.
    """
    check_features(samples, real)
    if len(samples) != len(real):
        raise ValueError(f"expected sets of one size, got {len(samples)} and {len(real)}")
    everything = torch.cat([samples, real])
    distances = _distances(everything, everything).fill_diagonal_(torch.inf)
    from_samples = torch.arange(len(everything), device=samples.device) < len(samples)
    nearest = distances.argmin(1)
    return (from_samples[nearest] == from_samples).double().mean().item()


def against_floor(
    measure: Callable[[Tensor, Tensor], float], samples: Tensor, *, real: Tensor
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
        >>> from narrows.metrics.samples import kid
        >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
        <torch._C.Generator object at ...>
        >>> distance, floor = against_floor(kid, torch.randn(200, 8) + 1, real=torch.randn(400, 8))
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
