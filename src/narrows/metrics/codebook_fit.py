"""Is a codebook the set of vectors that lets its features be restored?"""

import torch
from torch import Tensor

from narrows.functional.kmeans import kmeans, spread
from narrows.functional.nearest import nearest


def codebook_fit(
    features: Tensor, codes: Tensor, share: float = 0.95, seed: int = 0
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
    centres, _ = kmeans(train, spread(train, len(codes), generator), iterations=30)
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
