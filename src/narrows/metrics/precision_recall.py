"""Are samples like real examples, and are all real examples like some sample?"""

import torch
from torch import Tensor

from narrows.metrics.kid import check_features


def precision_recall(samples: Tensor, real: Tensor, k: int = 3) -> dict[str, float]:
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
    distances = torch.cdist(samples, real)
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
    return torch.cdist(features, features).kthvalue(k + 1, dim=1).values
