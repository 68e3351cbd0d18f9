"""Kernel distance between two sets of features: unbiased at any number of samples."""

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
