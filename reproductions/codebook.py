"""How many codewords a set of vectors needs."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from narrows.functional.kmeans import kmeans, kmeans_plus_plus
from narrows.functional.nearest import nearest


def codebook_fit(
    features: Tensor, codes: Tensor, *, share: float = 0.95, seed: int = 0
) -> dict[str, float]:
    """How much of the features a codebook loses, beside sets of as many vectors, and its core.

    left = sum |x - nearest code|^2 / sum |x - mean|^2.

    Args:
        features: `[n, d]`, held out: what is coded.
        codes: `[K, d]`, the set of vectors to be judged.
        share: of what the whole set holds that its core has to hold.
        seed: of k-means and of the random set.

    Returns:
        `left`: share of the features' variance that the codes lose; `kmeans`: the same for K
        centres fitted to one half of the features and measured on the other, near the least
        that K vectors can lose on new features; `random`: for K features of that half; `core`:
        the fewest codes, taken greedily, that hold `share` of what all hold. left near kmeans:
        the set suits the features. It can still be a poor set for the images: the features may
        have lost what matters, which only the decoder can say.

    Raises:
        ValueError: if the widths differ, or there are too few features for K centres.
    """
    if features.dim() != 2 or features.shape[1:] != codes.shape[1:]:
        raise ValueError(
            f"expected features and codes of one width, got {tuple(features.shape)} and "
            f"{tuple(codes.shape)}"
        )
    if len(features) < 2 * len(codes):
        raise ValueError(
            f"expected at least {2 * len(codes)} features for {len(codes)} codes, half of them "
            f"for k-means, got {len(features)}"
        )
    generator = torch.Generator().manual_seed(seed)
    features, codes = features.detach().cpu().double(), codes.detach().cpu().double()
    features = features[torch.randperm(len(features), generator=generator)]
    half = len(features) // 2
    train, test = features[:half], features[half:]
    centres, _ = kmeans(train, kmeans_plus_plus(train, len(codes), generator), iterations=30)
    return {
        "left": _left(test, codes),
        "kmeans": _left(test, centres),
        "random": _left(test, train[: len(codes)]),
        "core": float(_core(test, codes, share)),
    }


def _left(features: Tensor, codes: Tensor) -> float:
    spread_out = (features - features.mean(0)).square().sum()
    if spread_out == 0:
        raise ValueError("all features are equal: one code holds them")
    return ((features - codes[nearest(features, codes)]).square().sum() / spread_out).item()


def _core(features: Tensor, codes: Tensor, share: float) -> int:
    """Number of codes that greedy choice needs."""
    errors = torch.cdist(features, codes).square()
    none = (features - features.mean(0)).square().sum(1)
    goal = share * (none - errors.min(1).values.minimum(none)).sum()
    held, count = none, 0
    while count < len(codes) and (none - held).sum() < goal:
        best = errors.minimum(held[:, None]).sum(0).argmin()
        held, count = held.minimum(errors[:, best]), count + 1
    return count


def growth(dimensions: Sequence[float], sizes: Sequence[float]) -> dict[str, float]:
    """Compares size = c D^p with size = c e^(r D), both fitted by least squares in log size.

    "A codebook can be quadratic in D instead of exponential" is a statement about the sizes that
    reach one distortion in several dimensions (`size_for` finds them): p near 2 and a better fit
    of the power law support it. Three or four neighbouring dimensions can hardly tell the two
    apart: the ratio of the residuals says how well these did.

    Args:
        dimensions: D, at least three different ones.
        sizes: what each needed.

    Returns:
        `power`: p; `rate`: r; `residual_power` and `residual_exponential`: root mean square
        errors in natural log size; `advantage`: log of the latter over the former, above 0
        where the power law fits better.

    Raises:
        ValueError: unless there is a positive size for each of at least three dimensions.
    """
    d, k = np.asarray(dimensions, float), np.asarray(sizes, float)
    if d.shape != k.shape or len(set(d.tolist())) < 3 or (d <= 0).any() or (k <= 0).any():
        raise ValueError(
            "expected a positive size for each of at least three different dimensions, got "
            f"{list(dimensions)} and {list(sizes)}"
        )
    power, off_power = _fit(np.log(d), np.log(k))
    rate, off_rate = _fit(d, np.log(k))
    floor = 1e-9  # two exact fits are equally good
    return {
        "power": power,
        "rate": rate,
        "residual_power": off_power,
        "residual_exponential": off_rate,
        "advantage": float(np.log((off_rate + floor) / (off_power + floor))),
    }


def size_for(
    sizes: Sequence[float], distortions: Sequence[float], *, target: float
) -> float | None:
    """The size that reaches a distortion, between measured ones, linear in both logarithms.

    Args:
        sizes: rising.
        distortions: positive; where one rises with the size, the least so far is taken.
        target: to be reached.

    Returns:
        The size, or None where no measured size reaches the target or all do.
    """
    if len(sizes) != len(distortions) or len(sizes) < 2 or target <= 0:
        raise ValueError("expected a distortion for each of at least two sizes, and a target > 0")
    falling = np.minimum.accumulate(np.asarray(distortions, float))
    if not falling[-1] <= target <= falling[0]:
        return None
    # np.interp wants rising abscissae, and ties at their first size.
    kept = np.concatenate([[True], np.diff(falling) < 0])
    x, y = -np.log(falling[kept]), np.log(np.asarray(sizes, float)[kept])
    return float(np.exp(np.interp(-np.log(target), x, y)))


def _fit(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and root mean square residual of a line."""
    slope, offset = np.polyfit(x, y, 1)
    return float(slope), float(np.sqrt(np.mean((y - slope * x - offset) ** 2)))
