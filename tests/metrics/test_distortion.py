"""Distortion against scikit-image, and on codes whose worth is known."""

import numpy as np
import pytest
import torch

from narrows.metrics.distortion import mse, nmse, psnr, ssim

reference = pytest.importorskip("skimage.metrics")


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(3, 3, 24, 31, dtype=torch.float64, generator=generator)
    noise = torch.randn(x.shape, dtype=torch.float64, generator=generator)
    return x, (x + 0.1 * noise).clamp(0, 1)


def test_psnr_and_mse_are_those_of_scikit_image(pair):
    for x, y, ours, error in zip(*pair, psnr(*pair), mse(*pair), strict=True):
        expected = reference.peak_signal_noise_ratio(x.numpy(), y.numpy(), data_range=1)
        assert ours.item() == pytest.approx(expected)
        assert error.item() == pytest.approx(reference.mean_squared_error(x.numpy(), y.numpy()))


@pytest.mark.parametrize("peak", [1.0, 255.0])
def test_ssim_is_that_of_scikit_image(pair, peak):
    ours = ssim(pair[0] * peak, pair[1] * peak, peak=peak)
    for x, y, value in zip(*pair, ours, strict=True):
        expected = reference.structural_similarity(
            x.numpy() * peak, y.numpy() * peak, data_range=peak, channel_axis=0,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )  # fmt: skip
        assert value.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("size", [(8, 8), (10, 5), (11, 11), (3, 40)])
def test_images_smaller_than_the_window_are_compared_with_a_smaller_one(size):
    x = torch.rand(2, 1, *size, dtype=torch.float64)
    assert ssim(x, x).tolist() == pytest.approx([1, 1])
    assert bool((ssim(x, 1 - x) < 0.5).all())


def test_a_perfect_code_has_no_error_and_a_useless_one_that_of_the_mean():
    x = torch.rand(500, 1, 8, 8, dtype=torch.float64)
    variance = x.var(correction=0).item()
    assert mse(x, x).sum() == 0
    assert bool(psnr(x, x).isinf().all())
    useless = nmse(x, torch.full_like(x, x.mean().item()), variance=variance)
    assert useless.mean().item() == pytest.approx(1)


def test_one_pixel_of_shift_misleads_mse_more_than_ssim_ranks_it():
    # The known weakness: a shifted sharp picture loses to a flat grey one under MSE.
    x = torch.zeros(1, 1, 24, 24)
    x[..., ::2] = 1.0
    shifted, grey = 1 - x, torch.full_like(x, 0.5)
    assert mse(x, shifted) > mse(x, grey)


def test_the_mean_of_psnrs_is_not_the_psnr_of_the_mean():
    x = torch.zeros(2, 4, dtype=torch.float64)
    y = torch.tensor([[0.1] * 4, [0.3] * 4], dtype=torch.float64)
    assert psnr(x, y).mean().item() == pytest.approx(10 * np.log10(1 / (0.01 * 0.09) ** 0.5))
    assert psnr(x, y).mean() > 10 * np.log10(1 / 0.05)


def test_nothing_broadcasts():
    x = torch.rand(2, 3, 8, 8)
    for y in (x[:, :1], x[:1], x[0]):
        for measure in (mse, psnr, ssim):
            with pytest.raises(ValueError, match="expected two batches"):
                measure(x, y)
    with pytest.raises(ValueError, match="is it constant"):
        nmse(x, x, variance=0.0)
