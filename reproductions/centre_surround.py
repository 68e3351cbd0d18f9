"""Is a receptive field a centre with a surround of the opposite sign?"""

import torch
from torch import Tensor

CENTRES = (0.7, 1.0, 1.5, 2.0, 3.0)
SURROUNDS = (1.5, 2.0, 3.0)


def centre_surround(fields: Tensor) -> Tensor:
    """Share of each field's energy that the best difference of two Gaussians explains.

    R^2 = max over place, width s and ratio r of 1 - |f - a g_s + b g_{rs}|^2 / |f|^2 with
    a b > 0, g a circular Gaussian; f is used as it is, not centred. Place: every pixel; s from
    0.7 to 3 pixels, r from 1.5 to 3. Amplitudes are those of least squares; a pair whose
    amplitudes come out with the same sign is not a centre with a surround, and does not count.

    Args:
        fields: `[n, height, width]`.

    Returns:
        `[n]` in [0, 1]; 0 for a field of zeros.

    Raises:
        ValueError: for another shape.

    Source: the model of retinal ganglion cells of Rodieck (1965), on a grid.

    Example:
        >>> y, x = torch.meshgrid(torch.arange(9.0), torch.arange(9.0), indexing="ij")
        >>> square = (x - 4) ** 2 + (y - 4) ** 2
        >>> cell = 2 * torch.exp(-square / 2) - torch.exp(-square / 8)
        >>> bool(centre_surround(cell[None])[0] > 0.99)
        True
    """
    if fields.dim() != 3:
        raise ValueError(f"expected fields [n, height, width], got shape {tuple(fields.shape)}")
    flat = fields.detach().double().flatten(1)
    energy = flat.square().sum(1)
    best = torch.zeros_like(energy)
    for inner in CENTRES:
        for ratio in SURROUNDS:
            found = _explained(flat, *_pair(fields.shape[1:], inner, inner * ratio))
            best = torch.maximum(best, found)
    return torch.where(energy > 0, best / energy.clamp(min=1e-300), 0.0).clamp(0, 1)


def _pair(shape: torch.Size, inner: float, outer: float) -> tuple[Tensor, Tensor]:
    """Unit-norm Gaussians of both widths at every pixel, `[places, pixels]`."""
    height, width = shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([y.flatten(), x.flatten()], 1).double()
    square = torch.cdist(places, places).square()
    bells = (torch.exp(-0.5 * square / s**2) for s in (inner, outer))
    first, second = (bell / bell.norm(dim=1, keepdim=True) for bell in bells)
    return first, second


def _explained(flat: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Best explained energy over places, amplitudes of opposite sign, `[n]`."""
    overlap = (first * second).sum(1)
    a, b = flat @ first.T, flat @ second.T
    whole = 1 - overlap.square()
    one, two = (a - overlap * b) / whole, (b - overlap * a) / whole
    energy = one * a + two * b
    return torch.where(one * two < 0, energy, 0.0).max(1).values
