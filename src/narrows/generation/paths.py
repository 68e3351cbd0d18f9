"""Paths between codes, each of whose points is a code."""

from typing import Protocol

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.codes import (
    AtomValues,
    Code,
    CodeSpace,
    Indices,
    Values,
    atoms_of,
    is_discrete,
    one_tensor,
    tensors,
)
from narrows.sparse.solution import canonical


class Path(Protocol):
    """A point at t in [0, 1] between two codes of equal shape; t = 0 and t = 1 give the codes."""

    def __call__(self, a: Code, b: Code, /, *, t: float) -> Code:
        """The point, a code as well."""
        ...


def linear(a: Code, b: Code, *, t: float) -> Code:
    """(1 - t) a + t b, for continuous codes.

    Raises:
        ValueError: for discrete or sparse codes, whose weighted sums are not codes.
    """
    a, b = continuous(a), continuous(b)
    return torch.lerp(a, b, t)


def spherical(a: Code, b: Code, *, t: float) -> Code:
    """sin((1 - t) w)/sin(w) a + sin(t w)/sin(w) b, w the angle between a and b, by example.

    In high dimensions the normal prior's mass lies near a sphere, and a straight line leaves it.

    Source: Shoemake 1985, Animating Rotation with Quaternion Curves; for latents White 2016,
    Sampling Generative Networks, arXiv:1609.04468.

    Raises:
        ValueError: for discrete or sparse codes.
    """
    a, b = continuous(a), continuous(b)
    flat_a, flat_b = a.flatten(1).double(), b.flatten(1).double()
    cosine = torch.cosine_similarity(flat_a, flat_b, dim=1).clamp(-1, 1)
    angle = cosine.acos()
    sine = angle.sin()
    straight = sine < 1e-6  # parallel: the limit is the straight line
    safe = torch.where(straight, torch.ones_like(sine), sine)
    left = torch.where(straight, torch.full_like(sine, 1 - t), ((1 - t) * angle).sin() / safe)
    right = torch.where(straight, torch.full_like(sine, t), (t * angle).sin() / safe)
    return (left[:, None] * flat_a + right[:, None] * flat_b).view(a.shape).to(a.dtype)


def switching(a: Code, b: Code, *, t: float) -> Code:
    """Index by index from a to b in one fixed random order, for discrete codes.

    The first round(t m) of the m differing indices are b's: every step is a code.

    Raises:
        ValueError: for continuous or sparse codes.
    """
    if not (is_discrete(a) and is_discrete(b)):
        raise ValueError("switching is for integer codes; use linear, spherical or blending")
    a, b = one_tensor(a), one_tensor(b)
    mixed = a.flatten(1).clone()
    order = torch.randperm(mixed.shape[1], generator=torch.Generator().manual_seed(0))
    for row, target in zip(mixed, b.flatten(1), strict=True):
        places = order.to(row.device)[(row != target)[order]]
        chosen = places[: round(t * len(places))]
        row[chosen] = target[chosen]
    return mixed.view(a.shape)


def blending(a: Code, b: Code, *, t: float) -> Code:
    """(1 - t) a + t b of sparse codes (atoms, values): a's atoms fade as b's appear.

    In between up to twice as many atoms are active, but only those of a and b.

    Raises:
        ValueError: for other codes.
    """
    a, b = atoms_of(a), atoms_of(b)
    atoms = torch.cat([a.atoms, b.atoms], dim=-1)
    values = torch.cat([(1 - t) * a.values, t * b.values], dim=-1)
    # An atom of both: the first place takes the sum, the second nothing.
    same = (a.atoms[..., :, None] == b.atoms[..., None, :]) & (b.values != 0)[..., None, :]
    same &= (a.values != 0)[..., :, None]
    width = a.atoms.shape[-1]
    first, second = values[..., :width], values[..., width:]
    first = first + (same * second[..., None, :]).sum(-1)
    second = second.masked_fill(same.any(-2), 0)
    return canonical(atoms, torch.cat([first, second], dim=-1))


def path_for(space: CodeSpace) -> Path:
    """The path that suits the codes of a model: blending, switching or spherical.

    Raises:
        TypeError: if a code has several parts.
    """
    if isinstance(space, AtomValues):
        return blending
    if isinstance(space, Indices):
        return switching
    if not isinstance(space, Values):
        raise TypeError(f"there is no path between codes of {space}; pass one")
    return spherical


@torch.no_grad()
def interpolate(
    model: Autoencoder, a: Tensor, *, b: Tensor, steps: int = 8, path: Path | None = None
) -> Tensor:
    """Images along a path between the codes of a and b, `[n, steps, *shape]`.

    Args:
        model: a trained model.
        a: images `[n, *shape]` in [0, 1], where the paths begin.
        b: as many images, where they end.
        steps: images on each path, ends included.
        path: default `path_for` the model's code.

    Raises:
        ValueError: if there are fewer than 2 steps, or a and b differ in number.

    Example:
        >>> import narrows as nw
        >>> data = nw.data.load("digits")
        >>> model = nw.Autoencoder.for_images(data.shape, nw.bottlenecks.Identity(2))
        >>> x = data.test.batch(torch.arange(2))
        >>> interpolate(model, x[:1], b=x[1:], steps=5).shape
        torch.Size([1, 5, 1, 8, 8])
    """
    if steps < 2 or a.shape != b.shape:
        raise ValueError(
            f"expected at least 2 steps and as many ends as beginnings, got {steps} steps, shapes "
            f"{tuple(a.shape)} and {tuple(b.shape)}"
        )
    first, last = model.encode(a), model.encode(b)
    path = path or path_for(model.bottleneck.codes)
    images = [model.decode(path(first, last, t=i / (steps - 1))) for i in range(steps)]
    return torch.stack(images, dim=1)


def continuous(code: Code) -> Tensor:
    """The code, if it is one continuous tensor.

    Raises:
        ValueError: for other codes, with the paths that suit them.
    """
    values, *others = tensors(code)
    if others or not values.is_floating_point():
        raise ValueError(
            "expected a continuous code; for integers use switching, for sparse codes blending"
        )
    return values
