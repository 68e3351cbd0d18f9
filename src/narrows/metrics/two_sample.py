"""Can a nearest neighbour tell samples from real examples?"""

import torch
from torch import Tensor

from narrows.metrics.kid import check_features


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
    distances = torch.cdist(everything, everything).fill_diagonal_(torch.inf)
    from_samples = torch.arange(len(everything), device=samples.device) < len(samples)
    nearest = distances.argmin(1)
    return (from_samples[nearest] == from_samples).double().mean().item()
