"""Where codes lie: by class, and in the plane where they have but two numbers."""

from collections.abc import Mapping

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.codes import Values
from narrows.compare.pictures.states import decoded, z_of
from narrows.metrics.sparsity import pca_spectrum
from narrows.report import Picture, curves, grid, scatter
from narrows.report.codes import Projection, principal_plane

SIDE, FLOOR = 12, 0.003
"""Images along one side of a grid of the latent plane; smallest share of variance drawn."""


def scatters(
    models: Mapping[str, Autoencoder],
    x: Tensor,
    *,
    labels: Tensor | None,
    project: Projection = principal_plane,
) -> list[Picture]:
    """Codes of held-out examples in the plane, coloured by class, one picture a model."""
    classes = None if labels is None else labels.cpu().numpy()
    return [
        scatter(
            z_of(model, x).flatten(1).cpu().numpy(), classes, title=name,
            caption="Coloured by class." if labels is not None else "", project=project,
        )
        for name, model in models.items()
    ]  # fmt: skip


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


def plane(models: Mapping[str, Autoencoder], x: Tensor) -> list[Picture]:
    """Images decoded over the whole plane, for models whose code is two numbers."""
    found = []
    for name, model in models.items():
        space = model.bottleneck.codes
        if not isinstance(space, Values):
            continue
        code = space.check(model.encode(x))
        if code[0].numel() != 2:
            continue
        low, high = torch.quantile(code.flatten(1), code.new_tensor([0.02, 0.98]), dim=0)
        across, up = (
            torch.linspace(float(a), float(b), SIDE) for a, b in zip(low, high, strict=True)
        )
        points = torch.cartesian_prod(up.flip(0), across).flip(1).to(code)
        z = model.bottleneck.embed(points.view(-1, *code.shape[1:]))
        caption = (
            f"{name}: {float(low[0]):.2g} to {float(high[0]):.2g} across, {float(low[1]):.2g} to "
            f"{float(high[1]):.2g} upwards; each number of 96 of 100 codes lies within"
        )
        images = decoded(model, z).clamp(0, 1).cpu().numpy()
        found.append(
            grid(
                images,
                what=f"images over the latent plane of {name}",
                columns=SIDE,
                caption=caption,
            )
        )
    return found
