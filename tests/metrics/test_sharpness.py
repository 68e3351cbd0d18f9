"""Sharpness: blur is below 1, noise above, and shape alone does not matter."""

import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from narrows.metrics.sharpness import high_frequency_energy, laplacian_variance, sharpness


@pytest.fixture
def photographs():
    from sklearn.datasets import load_sample_image

    image = torch.from_numpy(load_sample_image("china.jpg").copy()).double() / 255
    patches = image.permute(2, 0, 1).unfold(1, 64, 64).unfold(2, 64, 64)
    return patches.permute(1, 2, 0, 3, 4).reshape(-1, 3, 64, 64)[:40]


def test_the_laplacian_is_scipys(photographs):
    image = photographs[0, 0].numpy()
    expected = ndimage.laplace(image)[1:-1, 1:-1].var()
    ours = laplacian_variance(photographs[:1, :1])
    assert ours.item() == pytest.approx(expected)


def test_equal_images_are_equally_sharp(photographs):
    assert sharpness(photographs, photographs) == {
        "laplacian_ratio": 1.0,
        "high_frequency_ratio": 1.0,
    }


def test_the_more_blur_the_lower(photographs):
    ratios = []
    for size in (3, 5, 9):
        blurred = F.avg_pool2d(photographs, size, 1, size // 2, count_include_pad=False)
        ratios.append(sharpness(blurred, photographs))
    for name in ("laplacian_ratio", "high_frequency_ratio"):
        values = [1.0, *(ratio[name] for ratio in ratios)]
        assert values == sorted(values, reverse=True)
        assert values[-1] < 0.2


def test_a_useless_grey_code_has_no_sharpness(photographs):
    ratios = sharpness(torch.full_like(photographs, 0.5), photographs)
    assert max(ratios.values()) == pytest.approx(0, abs=1e-12)


def test_noise_misleads_upwards_which_is_why_both_sides_of_one_are_bad(photographs):
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(photographs.shape, generator=generator, dtype=torch.float64)
    assert min(sharpness(photographs + 0.2 * noise, photographs).values()) > 1.5


def test_a_wave_counts_only_above_the_limit():
    position = torch.arange(64, dtype=torch.float64)
    for frequency, high in ((0.1, False), (0.2, False), (0.3, True), (0.45, True)):
        wave = (2 * torch.pi * frequency * position).cos().expand(1, 1, 64, 64)
        share = high_frequency_energy(wave) / high_frequency_energy(wave, above=0.0)
        assert (share.item() > 0.99) is high
        assert (share.item() < 0.01) is not high


def test_flat_originals_and_wrong_shapes_are_refused():
    flat = torch.zeros(2, 1, 8, 8)
    with pytest.raises(ValueError, match="all constant"):
        sharpness(flat, flat)
    with pytest.raises(ValueError, match="expected reconstructions of shape"):
        sharpness(flat, flat[:1])
    with pytest.raises(ValueError, match="at least 3 x 3"):
        laplacian_variance(torch.zeros(2, 1, 2, 8))
