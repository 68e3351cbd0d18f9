"""Are filters localised, oriented and band-pass? How well a Gabor function fits each."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import least_squares
from torch import Tensor

# Envelopes tried first, in pixels: along and across the stripes.
_STARTS = ((1.5, 1.5), (3.0, 1.5), (3.0, 3.0))
_EVALUATIONS = 60


@dataclass(frozen=True, eq=False)
class GaborFit:
    """The best Gabor function found for each of n filters.

    Attributes:
        r2: 1 - |filter - fit|^2 / |filter|^2, `[n]`.
        centre: of the envelope, (y, x) in pixels from the top left pixel, `[n, 2]`.
        frequency: cycles a pixel, `[n]`; near 0 for a single edge, which is an envelope times
            a slow sine. Where the filter passes most is the peak of its spectrum.
        orientation: of the wave's direction, radians in [0, pi), `[n]`.
        widths: standard deviations of the envelope along the wave and across it, in pixels,
            `[n, 2]`.
    """

    r2: Tensor
    centre: Tensor
    frequency: Tensor
    orientation: Tensor
    widths: Tensor


def gabor_fit(filters: Tensor, side: int) -> GaborFit:
    r"""Fits a two-dimensional Gabor function to each filter by least squares.

    .. math:: g(p) = e^{-u^2 / 2 \sigma_u^2 - v^2 / 2 \sigma_v^2}\,
        (a \cos 2 \pi f u + b \sin 2 \pi f u)

    with (u, v) the pixel relative to the centre, turned by the orientation. a and b solve a
    linear problem for each choice of the other six; those start at the filter's spectral peak
    and centre of energy, from three envelopes.

    It cannot tell a good filter from one that merely looks so: a whitened patch of one edge is
    fitted too. Compare with the same measure of the untrained atoms and of noise.

    Args:
        filters: `[n, side * side]`, for instance the atoms of a dictionary of whitened patches.
        side: of a filter, in pixels.

    Raises:
        ValueError: if the filters are not of that size, or one is zero.

    Source: Gabor fits of learned atoms as in van Hateren and van der Schaaf 1998, section 3;
        the linear part solved apart (variable projection, Golub and Pereyra 1973).

    Example:
        >>> y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
        >>> wave = torch.exp(-((x - 4) ** 2 + (y - 3) ** 2) / 8) * torch.cos(1.5 * (x - 4))
        >>> bool(gabor_fit(wave.reshape(1, 64), 8).r2 > 0.999)
        True
    """
    if filters.dim() != 2 or filters.shape[1] != side * side or side < 3:
        raise ValueError(f"expected filters [n, {side * side}], got {tuple(filters.shape)}")
    rows = filters.detach().cpu().double().numpy().reshape(-1, side, side)
    if not np.square(rows).sum((1, 2)).all():
        raise ValueError("a filter is zero: there is nothing to fit")
    found = torch.tensor(np.array([_fit(row) for row in rows]).reshape(-1, 7))
    return GaborFit(
        r2=found[:, 0],
        centre=found[:, 1:3],
        frequency=found[:, 3],
        orientation=found[:, 4],
        widths=found[:, 5:],
    )


def _fit(picture: NDArray[np.float64]) -> tuple[float, ...]:
    """R^2, centre, frequency, orientation and widths of one filter."""
    side = len(picture)
    picture = picture / np.linalg.norm(picture)
    grid = np.mgrid[:side, :side].reshape(2, -1).astype(np.float64)
    target = picture.ravel()
    wave = _spectral_peak(picture)
    energy = np.square(picture)
    middle = [float((axis * energy.ravel()).sum()) for axis in grid]
    lower = [-2, -2, -0.6, -0.6, np.log(0.5), np.log(0.5)]
    upper = [side + 1, side + 1, 0.6, 0.6, np.log(side), np.log(side)]
    best = None
    for across, along in _STARTS:
        start = np.clip([*middle, *wave, np.log(along), np.log(across)], lower, upper)
        found = least_squares(
            lambda p: _residual(p, grid, target), start, bounds=(lower, upper),
            max_nfev=_EVALUATIONS,
        )  # fmt: skip
        if best is None or found.cost < best.cost:
            best = found
    assert best is not None
    y, x, fy, fx, along, across = best.x
    angle = float(np.arctan2(fy, fx) % np.pi)
    widths = float(np.exp(along)), float(np.exp(across))
    return 1 - 2 * float(best.cost), y, x, float(np.hypot(fy, fx)), angle, *widths


def _residual(
    parameters: NDArray[np.float64], grid: NDArray[np.float64], target: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What is left after the best amplitude and phase for centre, wave vector and widths."""
    y, x, fy, fx, along, across = parameters
    down, right = grid[0] - y, grid[1] - x
    phase = 2 * np.pi * (fy * down + fx * right)
    length = np.hypot(fy, fx) + 1e-9
    u, v = (fy * down + fx * right) / length, (fy * right - fx * down) / length
    envelope = np.exp(-np.square(u / np.exp(along)) / 2 - np.square(v / np.exp(across)) / 2)
    basis = np.stack([envelope * np.cos(phase), envelope * np.sin(phase)], axis=1)
    # A trace of ridge: the sine vanishes where the wave is flat.
    gram = basis.T @ basis + 1e-9 * np.eye(2)
    return basis @ np.linalg.solve(gram, basis.T @ target) - target


def _spectral_peak(picture: NDArray[np.float64]) -> tuple[float, float]:
    """The wave vector (cycles a pixel, down and right) with the most power."""
    size = 4 * len(picture)  # padded: finer than the filter's own grid of frequencies
    power = np.abs(np.fft.rfft2(picture, (size, size)))
    row, column = np.unravel_index(power.argmax(), power.shape)
    return float(np.fft.fftfreq(size)[row]), float(np.fft.rfftfreq(size)[column])
