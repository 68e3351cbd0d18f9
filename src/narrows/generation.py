"""What one does with a trained latent: paths between codes, traversals, masks, completion."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.latent import Code
from narrows.priors.walk import follow, sampler
from narrows.sparse.solution import canonical

Path = Callable[[Code, Code, float], Code]
"""A point at t in [0, 1] between two codes of equal shape; t = 0 and t = 1 give the codes."""


def linear(a: Code, b: Code, t: float) -> Code:
    """(1 - t) a + t b, for continuous codes.

    Raises:
        ValueError: for discrete or sparse codes, of which weighted sums are no codes.
    """
    a, b = _continuous(a), _continuous(b)
    return torch.lerp(a, b, t)


def spherical(a: Code, b: Code, t: float) -> Code:
    """sin((1 - t) w)/sin(w) a + sin(t w)/sin(w) b, w the angle between a and b, by example.

    In high dimensions the normal prior's mass lies near a sphere, and a straight line leaves it.

    Source: Shoemake 1985, Animating Rotation with Quaternion Curves; for latents White 2016,
    Sampling Generative Networks, arXiv:1609.04468.

    Raises:
        ValueError: for discrete or sparse codes.
    """
    a, b = _continuous(a), _continuous(b)
    flat_a, flat_b = a.flatten(1).double(), b.flatten(1).double()
    cosine = torch.cosine_similarity(flat_a, flat_b, dim=1).clamp(-1, 1)
    angle = cosine.acos()
    sine = angle.sin()
    straight = sine < 1e-6  # parallel: the limit is the straight line
    safe = torch.where(straight, torch.ones_like(sine), sine)
    left = torch.where(straight, torch.full_like(sine, 1 - t), ((1 - t) * angle).sin() / safe)
    right = torch.where(straight, torch.full_like(sine, t), (t * angle).sin() / safe)
    return (left[:, None] * flat_a + right[:, None] * flat_b).view(a.shape).to(a.dtype)


def switching(a: Code, b: Code, t: float) -> Code:
    """Index by index from a to b in one fixed random order, for discrete codes.

    The first round(t m) of the m differing indices are b's: every step is a code.

    Raises:
        ValueError: for continuous or sparse codes.
    """
    if isinstance(a, tuple) or isinstance(b, tuple) or a.is_floating_point():
        raise ValueError("switching is for integer codes; use linear, spherical or blending")
    mixed = a.flatten(1).clone()
    order = torch.randperm(mixed.shape[1], generator=torch.Generator().manual_seed(0))
    for row, target in zip(mixed, b.flatten(1), strict=True):
        places = order.to(row.device)[(row != target)[order]]
        chosen = places[: round(t * len(places))]
        row[chosen] = target[chosen]
    return mixed.view(a.shape)


def blending(a: Code, b: Code, t: float) -> Code:
    """(1 - t) a + t b of sparse codes (atoms, values): a's atoms fade as b's appear.

    In between up to twice as many atoms are active, but only those of a and b.

    Raises:
        ValueError: for other codes.
    """
    if not (isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b) == 2):
        raise ValueError("blending is for sparse codes (atoms, values); use linear or switching")
    atoms = torch.cat([a[0], b[0]], dim=-1)
    values = torch.cat([(1 - t) * a[1], t * b[1]], dim=-1)
    # An atom of both: the first place takes the sum, the second nothing.
    same = (a[0][..., :, None] == b[0][..., None, :]) & (b[1] != 0)[..., None, :]
    same &= (a[1] != 0)[..., :, None]
    width = a[0].shape[-1]
    first, second = values[..., :width], values[..., width:]
    first = first + (same * second[..., None, :]).sum(-1)
    second = second.masked_fill(same.any(-2), 0)
    return canonical(atoms, torch.cat([first, second], dim=-1))


def path_for(code: Code) -> Path:
    """The path that suits a code: blending for sparse, switching for integers, else spherical."""
    if isinstance(code, tuple):
        return blending
    return spherical if code.is_floating_point() else switching


@torch.no_grad()
def interpolate(
    model: Autoencoder, a: Tensor, b: Tensor, steps: int = 8, path: Path | None = None
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
        >>> interpolate(model, x[:1], x[1:], steps=5).shape
        torch.Size([1, 5, 1, 8, 8])
    """
    if steps < 2 or a.shape != b.shape:
        raise ValueError(
            f"expected at least 2 steps and as many ends as beginnings, got {steps} steps, shapes "
            f"{tuple(a.shape)} and {tuple(b.shape)}"
        )
    first, last = model.encode(a), model.encode(b)
    path = path or path_for(first)
    images = [model.decode(path(first, last, i / (steps - 1))) for i in range(steps)]
    return torch.stack(images, dim=1)


@torch.no_grad()
def traverse(
    model: Autoencoder, x: Tensor, values: Sequence[float], dimensions: Sequence[int] | None = None
) -> Tensor:
    """Images with one dimension of the code set to each value, `[dimensions, values, *shape]`.

    Where there are sites, the dimension is set at all of them.

    Args:
        model: a model with a continuous code.
        x: one image `[1, *shape]`.
        values: what the dimension is set to.
        dimensions: which; default all.

    Raises:
        ValueError: if the code is discrete or sparse, or x is not one image.
    """
    code = _continuous(model.encode(x))
    if len(code) != 1:
        raise ValueError(f"expected one image, got {len(code)}")
    rows = []
    for j in range(code.shape[-1]) if dimensions is None else dimensions:
        many = code.repeat(len(values), *[1] * (code.dim() - 1))
        each = torch.as_tensor(list(values), dtype=code.dtype, device=code.device)
        many[..., j] = each.view(-1, *[1] * (code.dim() - 2))
        rows.append(model.decode(many))
    return torch.stack(rows)


@torch.no_grad()
def mask_sites(model: Autoencoder, x: Tensor) -> Tensor:
    """Reconstructions with one site's z set to 0 each, `[n, sites, *shape]`.

    Shows what a site is responsible for. Source: the third seed document's figure of masked
    codes, which masked one of 8x8 sites per image; here every site of every image.

    Raises:
        ValueError: if the code has no sites.
    """
    if not model.sites:
        raise ValueError("the code of this model has no sites to mask; it is one vector")
    z = model.bottleneck.embed(model.encode(x)).flatten(1, len(model.sites))
    images = []
    training = model.training
    model.eval()
    for site in range(math.prod(model.sites)):
        masked = z.clone()
        masked[:, site] = 0
        masked = masked.unflatten(1, model.sites)
        images.append(model.likelihood.mean(model.decoder(masked)))
    model.train(training)
    return torch.stack(images, dim=1)


@torch.no_grad()
def complete(
    model: Autoencoder, code: Code, keep: Tensor, generator: torch.Generator | None = None
) -> Code:
    """Codes whose missing indices are drawn from a learned prior, given those before them.

    Each missing index is drawn given all indices before it in raster order, kept ones included;
    kept ones after it are not looked at (that would take a bidirectional prior).

    Args:
        model: one whose prior is autoregressive over integer codes.
        code: integers `[n, *sites]` or with a last axis of stages.
        keep: booleans of the code's shape: False is missing.
        generator: source of randomness.

    Raises:
        ValueError: if the shapes differ.
        TypeError: if the prior cannot do so.
    """
    walk = getattr(model.prior, "walk", None)
    if walk is None or isinstance(code, tuple) or code.is_floating_point():
        raise TypeError(
            "completion needs integer codes and an autoregressive prior; fit one with "
            "nw.priors.fit_pixelcnn and make it model.prior"
        )
    if keep.shape != code.shape:
        raise ValueError(
            f"expected keep of the code's shape {tuple(code.shape)}, got {tuple(keep.shape)}"
        )
    draw = sampler(generator, 1.0, None)
    known = iter(zip(code.flatten(1).unbind(1), keep.flatten(1).unbind(1), strict=True))

    def choose(logits: Tensor, _: Tensor | None) -> Tensor:
        given, kept = next(known)
        return torch.where(kept, given, draw(logits, None))

    return follow(walk(len(code)), choose)


def _continuous(code: Code) -> Tensor:
    if isinstance(code, tuple) or not code.is_floating_point():
        raise ValueError(
            "expected a continuous code; for integers use switching, for sparse codes blending"
        )
    return code
