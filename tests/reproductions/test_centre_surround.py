"""Centre and surround: found where it is, not where it is not."""

import math

import pytest
import torch

from reproductions.centre_surround import centre_surround


def plane(size=16):
    axis = torch.arange(size, dtype=torch.float64)
    return torch.meshgrid(axis, axis, indexing="ij")


def cell(y0, x0, inner, outer, ratio, size=16):
    y, x = plane(size)
    square = (y - y0) ** 2 + (x - x0) ** 2
    return torch.exp(-square / (2 * inner**2)) - ratio * torch.exp(-square / (2 * outer**2))


def test_a_difference_of_gaussians_is_explained_wholly_whatever_its_place_sign_and_scale():
    fields = torch.stack(
        [cell(8, 8, 1.0, 2.0, 0.25), -3 * cell(3, 11, 1.5, 3.0, 0.3), cell(8, 8, 1.2, 2.6, 0.2)]
    )
    found = centre_surround(fields)
    assert found[:2].tolist() == pytest.approx([1.0, 1.0], abs=1e-9)
    assert found[2] > 0.98, "between two widths of the grid"


def test_a_grating_and_white_noise_are_no_cells():
    _, x = plane()
    grating = torch.sin(2 * math.pi * x / 8)
    noise = torch.randn(16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert (centre_surround(torch.stack([grating, noise])) < 0.35).all()


def test_an_edge_detector_scores_below_a_cell():
    y, x = plane()
    envelope = torch.exp(-((y - 8) ** 2 + (x - 8) ** 2) / 8)
    odd = envelope * torch.sin(2 * math.pi * (x - 8) / 6)
    assert centre_surround(odd[None])[0] < 0.75 < centre_surround(cell(8, 8, 1, 2, 0.25)[None])[0]


def test_zeros_score_zero_and_wrong_shapes_are_refused():
    assert centre_surround(torch.zeros(1, 8, 8))[0] == 0
    with pytest.raises(ValueError, match="height, width"):
        centre_surround(torch.zeros(8, 8))
