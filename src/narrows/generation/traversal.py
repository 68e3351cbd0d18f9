"""One dimension of a code moved, the others held."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from narrows.autoencoder import Autoencoder
from narrows.codes import AtomValues, Code, Indices, Values, atoms_of, one_tensor, tensors
from narrows.sparse.solution import canonical


class _Setter(Protocol):
    """Sets one dimension of a code."""

    def __call__(self, code: Code, dimension: int, *, value: float) -> Code: ...


@torch.no_grad()
def traverse(
    model: Autoencoder,
    x: Tensor,
    *,
    values: Sequence[float],
    dimensions: Sequence[int] | None = None,
) -> Tensor:
    """Images with one dimension of the code set to each value, `[dimensions, values, *shape]`.

    What a dimension and its value are depends on the code:

    - continuous: a feature, set to a number at all sites;
    - sparse: an atom, given a coefficient at all sites (0 takes it away);
    - integers: an index, counted through sites and stages in raster order, set to another one.

    Args:
        model: a trained model.
        x: one image `[1, *shape]`.
        values: what the dimension is set to.
        dimensions: which; default all.

    Raises:
        ValueError: if x is not one image, or a dimension or an index does not exist.
        TypeError: if the code is of several parts (`Split`).

    Example:
        >>> import narrows as nw
        >>> model = nw.Autoencoder.for_images((1, 8, 8), nw.bottlenecks.Variational(3))
        >>> traverse(model, torch.rand(1, 1, 8, 8), values=[-1.0, 0.0, 1.0]).shape
        torch.Size([3, 3, 1, 8, 8])
    """
    if len(x) != 1:
        raise ValueError(f"expected one image, got {len(x)}")
    code = model.encode(x)
    count, setter = _dimensions(model, code)
    chosen = range(count) if dimensions is None else dimensions
    if any(not 0 <= j < count for j in chosen):
        raise ValueError(f"expected dimensions in 0..{count - 1}, got {list(chosen)}")
    rows = [torch.cat([model.decode(setter(code, j, value=v)) for v in values]) for j in chosen]
    return torch.stack(rows)


def _dimensions(model: Autoencoder, code: Code) -> tuple[int, _Setter]:
    """How many there are, and how one is set."""
    space = model.bottleneck.codes
    if isinstance(space, AtomValues):
        return space.size, set_coefficient
    if isinstance(space, Values):
        return space.dim, set_feature
    if not isinstance(space, Indices):
        raise TypeError(f"traversal is of one latent; this code has several parts: {space}")
    size = space.size

    def checked(code: Code, dimension: int, *, value: float) -> Code:
        if value != int(value) or not 0 <= value < size:
            raise ValueError(f"expected indices in 0..{size - 1}, got {value}")
        return set_index(code, dimension, value=int(value))

    return space.check(code)[0].numel(), checked


def set_feature(code: Code, dimension: int, *, value: float) -> Code:
    """A continuous code whose feature has this value at all sites."""
    moved = one_tensor(code).clone()
    moved[..., dimension] = value
    return moved


def set_index(code: Code, dimension: int, *, value: int) -> Code:
    """An integer code `[n, ...]` with one index, in raster order, replaced."""
    index = one_tensor(code)
    moved = index.flatten(1).clone()
    moved[:, dimension] = value
    return moved.view(index.shape)


def set_coefficient(code: Code, dimension: int, *, value: float) -> Code:
    """A sparse code whose atom has this coefficient at all sites."""
    atoms, values = atoms_of(code)
    others = values.masked_fill(atoms == dimension, 0)
    return canonical(pad(atoms, (0, 1), value=dimension), pad(others, (0, 1), value=value))


def usual(code: Code, rows: int, *, steps: int) -> tuple[list[int], list[float]]:
    """Dimensions and values worth a look in a traversal, from codes of many images.

    Continuous: the features that vary most, from their 1st to their 99th percentile. Sparse: the
    atoms used most, over the range of coefficients. Integers: places spread over the code, and
    the indices used most.

    Args:
        code: of some hundred images.
        rows: most dimensions.
        steps: most values of each.
    """
    first, *values = tensors(code)
    if values:
        active = values[0] != 0
        return _often(first[active], rows), _range(values[0][active], steps)
    if first.is_floating_point():
        flat = first.flatten(0, -2)
        order = flat.var(0).argsort(descending=True)[:rows]
        return sorted(order.tolist()), _range(flat[:, order], steps)
    count = first[0].numel()
    places = torch.linspace(0, count - 1, min(rows, count)).round().long()
    return places.tolist(), [float(index) for index in _often(first, steps)]


def _often(indices: Tensor, count: int) -> list[int]:
    """The integers that occur most, ascending."""
    used = indices.flatten().bincount()
    most = used.argsort(descending=True, stable=True)[:count]
    return sorted(index for index in most.tolist() if used[index])


def _range(values: Tensor, steps: int) -> list[float]:
    if not values.numel():
        raise ValueError("the codes of these images are empty: nothing to traverse")
    low, high = values.flatten()[: 1 << 20].float().cpu().quantile(torch.tensor([0.01, 0.99]))
    return torch.linspace(float(low), float(high), steps).tolist()
