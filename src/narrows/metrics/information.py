"""Entropies by counting, and which units carry information."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.codes import one_tensor
from narrows.latent import Latent

_CELLS = 2**24  # of a table held at a time


def entropies(columns: Tensor) -> Tensor:
    """-sum_v f_v log f_v of each column's frequencies, `[units]` nats.

    The n rows are the whole population: exact for them, at most log n, and as an estimate for
    more examples too small, by about (values - 1) / 2n.

    Args:
        columns: `[n, units]`, whole numbers, or values that repeat exactly.

    Source: Shannon (1948), section 6; the bias, Miller (1955).

    Example:
        >>> import torch
        >>> entropies(torch.tensor([[0, 7], [1, 7]]))
        tensor([0.6931, 0.0000], dtype=torch.float64)
    """
    one_class = torch.zeros(len(columns), dtype=torch.int64, device=columns.device)
    return torch.cat([_entropy(table.sum(2)) for table in _counts(columns, one_class)])


def class_information(columns: Tensor, classes: Tensor) -> Tensor:
    """I(column; class) = H(column) + H(class) - H(column, class), `[units]` nats.

    At most H(class), which a column of n different values always reaches: read it against the
    same with shuffled classes.

    Args:
        columns: `[n, units]`, whole numbers, or values that repeat exactly.
        classes: `[n]`, numbered from 0.
    """
    found = [
        _entropy(table.sum(2)) + _entropy(table.sum(1)) - _entropy(table.flatten(1))
        for table in _counts(columns, classes)
    ]
    return torch.cat(found).clamp(min=0)


def _counts(columns: Tensor, classes: Tensor) -> Iterator[Tensor]:
    """Tables `[units, values, classes]` of some columns after the other."""
    _, index = columns.unique(return_inverse=True)
    values, kinds = int(index.max()) + 1, int(classes.max()) + 1
    for some in index.split(max(1, _CELLS // (values * kinds)), 1):
        units = some.shape[1]
        place = (torch.arange(units, device=some.device) * values + some) * kinds + classes[:, None]
        counts = place.flatten().bincount(minlength=units * values * kinds)
        yield counts.reshape(units, values, kinds).double()


def _entropy(counts: Tensor) -> Tensor:
    """Of each row of counts."""
    share = counts / counts.sum(1, keepdim=True)
    return torch.special.entr(share).sum(1)


def unit_variances(latents: Iterable[Latent]) -> Tensor:
    """Variance over examples and sites of the posterior's location in each dimension, `[dim]`.

    Args:
        latents: in eval, of a whole set.

    Raises:
        ValueError: if there are none.
    """
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    mean = None
    for latent in latents:
        rows = _locations(latent)
        # About the first batch's mean, so that nothing cancels where the mean is large.
        mean = rows.mean(0) if mean is None else mean
        total = total + (rows - mean).sum(0)
        squares = squares + (rows - mean).square().sum(0)
        count += len(rows)
    if mean is None or not count:
        raise ValueError("unit_variances: expected at least one latent, got none")
    return squares / count - (total / count).square()


def active_units(latents: Iterable[Latent], threshold: float = 0.01) -> int:
    """Number of dimensions whose posterior location has a variance above the threshold.

    Args:
        latents: in eval, of a whole set.
        threshold: in the code's squared units; 0.01 for a prior of scale 1.

    Source: Burda, Grosse & Salakhutdinov (2016), section 5.
    """
    return int((unit_variances(latents) > threshold).sum())


def divergence_per_unit(model: Autoencoder, latents: Iterable[Latent]) -> Tensor:
    """Mean KL(q || p) of each dimension, summed over sites, `[dim]` nats per example.

    Args:
        model: its prior gives `divergence(posterior)` by dimension (`Factorial`, say).
        latents: in eval, of a whole set.

    Raises:
        TypeError: if the prior does not.
        ValueError: if there are no latents.
    """
    divergence = getattr(model.prior, "divergence", None)
    if divergence is None:
        raise TypeError(
            f"{type(model.prior).__name__} gives no divergence by dimension; use the prior that "
            "comes with the bottleneck (bottleneck.default_prior)"
        )
    total, count = None, 0
    for latent in latents:
        if latent.posterior is None:
            raise ValueError("a deterministic code has no divergence; see Prior.quantize")
        rows = divergence(latent.posterior).detach().double().flatten(0, -2).sum(0)
        total = rows if total is None else total + rows
        count += latent.batch
    if total is None or not count:
        raise ValueError("divergence_per_unit: expected at least one latent, got none")
    return total / count


def _locations(latent: Latent) -> Tensor:
    """The deterministic code, `[positions, dim]` in float64."""
    code = one_tensor(latent.code)
    if not code.is_floating_point():
        raise ValueError("units are dimensions of a continuous code; this one is discrete")
    return code.detach().double().flatten(0, -2)
