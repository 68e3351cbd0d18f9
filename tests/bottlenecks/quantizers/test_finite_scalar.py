import itertools
import math
import warnings

import pytest
import torch

from narrows.bottlenecks import Clamp, FiniteScalarQuantizer, NormalCdf, Tanh
from narrows.testing import check_bottleneck

LEVELS = [[2], [8, 5, 5, 4], [3, 2, 7], [16, 16]]


@pytest.mark.parametrize("levels", LEVELS)
def test_it_keeps_the_contract(levels):
    check_bottleneck(FiniteScalarQuantizer(levels), export=levels == [3, 2, 7])


@pytest.mark.parametrize("levels", LEVELS)
def test_indices_are_a_bijection_with_the_grid_for_odd_and_even_levels(levels):
    quantizer = FiniteScalarQuantizer(levels).eval()
    index = torch.arange(quantizer.size)
    z = quantizer.embed(index)
    grid = {
        tuple(round(2 * j / (top - 1) - 1, 5) for j, top in zip(digits, levels, strict=True))
        for digits in itertools.product(*map(range, levels))
    }
    assert {tuple(round(v, 5) for v in row) for row in z.tolist()} == grid
    # atanh undoes the bound; pushed to its ends, the grid still codes as itself.
    assert torch.equal(quantizer(torch.atanh(0.999 * z)).code, index)
    assert torch.equal(quantizer(torch.atanh(0.999 * z)).z, z)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_indices_stay_in_range_for_extreme_features_in_every_precision(dtype):
    quantizer = FiniteScalarQuantizer([8, 5, 5, 4])
    x = torch.tensor(list(itertools.product([-1e4, -3.0, 0.0, 3.0, 1e4], repeat=4))).to(dtype)
    code = quantizer(x).code
    assert code.min() >= 0
    assert code.max() < quantizer.size
    assert torch.equal(code, quantizer(x.double()).code)
    assert code[0] == 0
    assert code[-1] == quantizer.size - 1


def test_half_precision_features_reach_every_code():
    quantizer = FiniteScalarQuantizer([16, 16])
    torch.manual_seed(0)
    code = quantizer(torch.randn(20_000, 2).bfloat16() * 1.2).code
    assert code.unique().numel() == 256


def test_each_bounded_feature_goes_to_its_nearest_level():
    quantizer = FiniteScalarQuantizer([5, 4])
    x = torch.randn(300, 2)
    z = quantizer(x).z
    for axis, top in ((0, 5), (1, 4)):
        levels = torch.linspace(-1, 1, top)
        nearest = levels[(x[:, axis].tanh()[:, None] - levels).abs().argmin(1)]
        assert torch.allclose(z[:, axis], nearest, atol=1e-6)


def test_the_gradient_is_that_of_the_bound():
    quantizer = FiniteScalarQuantizer([5, 4])
    x = torch.randn(30, 2, requires_grad=True)
    quantizer(x).z.sum().backward()
    assert torch.allclose(x.grad, 1 - x.detach().tanh().square(), atol=1e-6)


def test_for_odd_levels_the_indices_are_those_of_vector_quantize_pytorch():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = pytest.importorskip("vector_quantize_pytorch")
    levels = [7, 5, 3]
    x = torch.randn(1, 500, 3)
    # They stretch the bound by a thousandth, which matters at the edges of a level only.
    inside = (x.tanh() + 1) / 2 * (torch.tensor(levels) - 1) % 1
    x = x[((inside - 0.5).abs() > 0.02).all(-1)][None]
    assert x.shape[1] > 350
    quantized, index = peer.FSQ(levels)(x)
    latent = FiniteScalarQuantizer(levels)(x)
    assert torch.equal(index.long(), latent.code)
    assert torch.allclose(quantized, latent.z, atol=1e-6)


def test_it_has_no_terms_and_its_prior_costs_the_logarithm_of_all_levels():
    quantizer = FiniteScalarQuantizer([8, 5])
    latent = quantizer(torch.randn(3, 6, 2))
    assert not latent.terms
    rate = quantizer.default_prior((6,)).rate(latent)
    assert torch.allclose(rate, torch.full((3,), 6 * math.log(40)))


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        FiniteScalarQuantizer([5, 1])
    with pytest.raises(ValueError, match="at least 2"):
        FiniteScalarQuantizer([])
    with pytest.raises(ValueError, match="side by side with Split"):
        FiniteScalarQuantizer([1024, 1024, 2])
    with pytest.raises(ValueError, match="integer"):
        FiniteScalarQuantizer([5]).embed(torch.zeros(2))


VARIANTS = {
    "ifsq": {"bound": Tanh(0.8)},
    "normal": {"bound": NormalCdf()},
    "clamp": {"bound": Clamp(), "scale": 2.0},
    "noise": {"noise": 0.5},
    "noise, scaled": {"bound": NormalCdf(), "noise": 1.0, "scale": 3.0},
    "entropy": {"bound": NormalCdf(), "entropy_constraint": 0.1},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_keep_the_contract(name):
    check_bottleneck(FiniteScalarQuantizer([3, 2, 4], **VARIANTS[name]), export=name == "normal")


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("levels", LEVELS)
def test_variants_have_the_same_indices_of_levels_that_lie_within_the_scale(name, levels):
    plain = FiniteScalarQuantizer(levels)
    quantizer = FiniteScalarQuantizer(levels, **VARIANTS[name]).eval()
    index = torch.arange(quantizer.size)
    assert torch.allclose(quantizer.embed(index), quantizer.scale * plain.embed(index))
    code = quantizer(8 * torch.randn(200, len(levels))).code
    assert code.min() >= 0
    assert code.max() < quantizer.size


def test_ifsq_bounds_by_the_sigmoid_of_the_paper():
    x = torch.randn(300, 2)
    bounded = 2 * torch.sigmoid(1.6 * x) - 1
    digits = torch.round((bounded + 1) / 2 * torch.tensor([6, 4]))
    code = FiniteScalarQuantizer([7, 5], Tanh(0.8))(x).code
    assert torch.equal(code, (digits[:, 0] + 7 * digits[:, 1]).long())


@pytest.mark.parametrize("levels", [2, 3, 8])
def test_all_levels_of_normal_features_are_equally_probable_under_the_normal_cdf(levels):
    x = torch.special.ndtri((torch.arange(24_000, dtype=torch.float64) + 0.5) / 24_000)[:, None]
    quantizer = FiniteScalarQuantizer([levels], NormalCdf())
    assert (quantizer(x).stats["counts"] - 24_000 / levels).abs().max() <= 1


def test_ifsq_spreads_normal_features_evenly_but_its_end_cells_are_half_as_wide():
    x = torch.special.ndtri((torch.arange(24_000, dtype=torch.float64) + 0.5) / 24_000)[:, None]
    counts = FiniteScalarQuantizer([9], Tanh(0.8))(x).stats["counts"] / 24_000
    even = torch.tensor([1 / 2, 1, 1, 1, 1, 1, 1, 1, 1 / 2]) / 8
    assert (counts - even).abs().max() < 0.018
    plain = FiniteScalarQuantizer([9])(x).stats["counts"] / 24_000
    assert (plain - even).abs().max() > 0.02


def test_a_clamp_takes_the_nearest_level_and_cuts_off():
    quantizer = FiniteScalarQuantizer([4], Clamp(), scale=3.0)
    x = torch.tensor([-9.0, -1.9, 0.1, 1.9, 2.1, 9.0])[:, None].requires_grad_()
    latent = quantizer(x)
    assert latent.z.flatten().tolist() == [-3, -1, 1, 1, 3, 3]
    latent.z.sum().backward()
    assert x.grad.flatten().tolist() == [0, 1, 1, 1, 1, 0]


def test_noise_is_that_of_a_cell_for_its_share_of_the_numbers():
    torch.manual_seed(0)
    quantizer = FiniteScalarQuantizer([5], noise=0.3, scale=2.0)
    x = torch.full((20_000, 1), 0.5, requires_grad=True)
    latent = quantizer(x)
    bounded = 2 * math.tanh(0.25)
    rounded = latent.z == quantizer.eval()(x[:1]).z
    assert rounded.double().mean().item() == pytest.approx(0.7, abs=0.01)
    noise = ((latent.z - bounded) / (2 / 4))[~rounded].sort().values.double()
    uniform = torch.linspace(-1, 1, len(noise), dtype=torch.float64)
    assert (noise - uniform).abs().max() < 0.06  # a Kolmogorov-Smirnov distance of 0.03
    latent.z.sum().backward()
    assert torch.allclose(x.grad, torch.tensor(1 - math.tanh(0.25) ** 2))


@pytest.mark.parametrize("wrong", [{"noise": 1.5}, {"scale": 0.0}, {"bound": 0}])
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises((ValueError, TypeError), match="expected"):
        FiniteScalarQuantizer([4], **wrong)
    with pytest.raises(ValueError, match="gain above 0"):
        Tanh(0.0)
