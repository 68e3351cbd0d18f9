import math

import pytest
import torch

from narrows.metrics import gabor_fit


def _gabor(side, centre, frequency, angle, along, across, phase):
    y, x = torch.meshgrid(torch.arange(float(side)), torch.arange(float(side)), indexing="ij")
    y, x = y - centre[0], x - centre[1]
    u = math.sin(angle) * y + math.cos(angle) * x
    v = math.sin(angle) * x - math.cos(angle) * y
    envelope = torch.exp(-((u / along) ** 2) / 2 - (v / across) ** 2 / 2)
    return (envelope * torch.cos(2 * math.pi * frequency * u + phase)).reshape(1, -1).double()


@pytest.mark.parametrize("angle", [0.0, 0.7, 2.0])
@pytest.mark.parametrize("phase", [0.0, 1.2])
def test_a_gabor_function_is_found_with_its_parameters(angle, phase):
    fit = gabor_fit(_gabor(16, (6.0, 9.0), 0.2, angle, 2.0, 3.0, phase), 16)
    assert fit.r2.item() > 1 - 1e-6
    assert fit.frequency.item() == pytest.approx(0.2, abs=1e-3)
    turned = (fit.orientation.item() - angle + math.pi / 2) % math.pi - math.pi / 2
    assert abs(turned) < 0.01
    torch.testing.assert_close(fit.centre, torch.tensor([[6.0, 9.0]]).double(), atol=0.02, rtol=0)
    torch.testing.assert_close(fit.widths, torch.tensor([[2.0, 3.0]]).double(), atol=0.02, rtol=0)


def test_noise_is_not_fitted_and_a_cross_of_two_waves_only_half():
    noise = torch.randn(6, 256, generator=torch.Generator().manual_seed(0))
    assert gabor_fit(noise, 16).r2.max() < 0.5
    parts = [_gabor(16, (7.5, 7.5), 0.25, angle, 3.0, 3.0, 0.0) for angle in (0.0, math.pi / 2)]
    cross = sum(part / part.norm() for part in parts)
    assert gabor_fit(cross, 16).r2.item() == pytest.approx(0.5, abs=0.15)


def test_sign_and_scale_do_not_matter():
    wave = _gabor(9, (4.0, 4.0), 0.2, 0.4, 1.5, 2.0, 0.3)
    wave = wave + 0.1 * torch.randn(1, 81, generator=torch.Generator().manual_seed(1))
    one, other = gabor_fit(wave, 9).r2, gabor_fit(-30 * wave, 9).r2
    torch.testing.assert_close(one, other)
    assert 0.5 < one.item() < 0.999


@pytest.mark.parametrize("wrong", [torch.ones(2, 15), torch.ones(16), torch.zeros(1, 16)])
def test_what_is_no_filter_is_refused(wrong):
    with pytest.raises(ValueError, match=r"expected filters|is zero"):
        gabor_fit(wrong, 4)
