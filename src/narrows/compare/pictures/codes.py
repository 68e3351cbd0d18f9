"""Where codes lie: in the plane, by class, and as maps."""

from collections.abc import Mapping

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.codes import Values
from narrows.metrics.sparsity import pca_spectrum
from narrows.modes import evaluating
from narrows.report import Picture, Strips, curves, grid, pca_rgb, scatter, strips
from narrows.report.codes import Projection, principal_plane

SIDE, FLOOR = 12, 0.003
"""Images along one side of a grid of the latent plane; smallest share of variance drawn."""


@torch.no_grad()
def z_of(model: Autoencoder, x: Tensor) -> Tensor:
    """What the decoder would be given for the stored codes of x, `[n, *sites, width]`."""
    return model.bottleneck.embed(model.encode(x))


@torch.no_grad()
def decoded(model: Autoencoder, z: Tensor) -> Tensor:
    """Mean images of z `[n, *sites, width]`."""
    with evaluating(model):
        return model.likelihood.mean(model.decoder(z))


def in_plane(
    name: str,
    model: Autoencoder,
    *,
    x: Tensor,
    labels: Tensor | None,
    project: Projection = principal_plane,
) -> Picture:
    """Codes of held-out examples in the plane, coloured by class."""
    z = z_of(model, x).flatten(1).cpu().numpy()
    classes = None if labels is None else labels.cpu().numpy()
    caption = "" if labels is None else "Coloured by class."
    return scatter(z, classes, title=name, caption=caption, project=project)


def spectra(models: Mapping[str, Autoencoder], x: Tensor) -> Picture | None:
    """Share of the variance of z that is left after the first principal components."""
    series = {}
    for name, model in models.items():
        z = z_of(model, x).flatten(1)
        if len(z) < 2 or bool((z == z[:1]).all()):
            continue
        left = 1 - pca_spectrum(z).cumsum(0)
        kept = left[left > FLOOR].cpu().numpy()
        series[name] = (range(len(kept) + 1), [1.0, *kept])
    if not series:
        return None
    caption = "A line that falls fast belongs to a code that uses few directions."
    return curves(
        series, quantity="variance of z left over", unit="share", step="principal components",
        caption=caption, order=list(models), smoothed=False,
    )  # fmt: skip


def plane(name: str, model: Autoencoder, *, x: Tensor) -> Picture | None:
    """Images decoded over the whole plane, of a model whose code is two numbers."""
    space = model.bottleneck.codes
    if not isinstance(space, Values):
        return None
    code = space.check(model.encode(x))
    if code[0].numel() != 2:
        return None
    low, high = torch.quantile(code.flatten(1), code.new_tensor([0.02, 0.98]), dim=0)
    across, up = (torch.linspace(float(a), float(b), SIDE) for a, b in zip(low, high, strict=True))
    points = torch.cartesian_prod(up.flip(0), across).flip(1).to(code)
    z = model.bottleneck.embed(points.view(-1, *code.shape[1:]))
    caption = (
        f"{name}: {float(low[0]):.2g} to {float(high[0]):.2g} across, {float(low[1]):.2g} to "
        f"{float(high[1]):.2g} upwards; each number of 96 of 100 codes lies within"
    )
    images = decoded(model, z).clamp(0, 1).cpu().numpy()
    what = f"images over the latent plane of {name}"
    return grid(images, what=what, columns=SIDE, caption=caption)


def latent_maps(models: Mapping[str, Autoencoder], x: Tensor) -> Strips | None:
    """Latent maps below their images: the first three principal components as colours."""
    rows = {"originals": x.cpu().numpy()}
    for name, model in models.items():
        z = z_of(model, x)
        if z.dim() == 4 and min(z.shape[1:3]) > 1:
            colours = torch.from_numpy(pca_rgb(z.cpu().numpy()))
            rows[name] = torch.nn.functional.interpolate(colours, x.shape[-2:]).numpy()
    caption = (
        "Latent maps: the first three principal components of a model's codes as red, green and "
        "blue. Equal colours are equal codes within a row; colours of different rows have nothing "
        "to do with each other."
    )
    return strips(rows, caption=caption) if len(rows) > 1 else None
