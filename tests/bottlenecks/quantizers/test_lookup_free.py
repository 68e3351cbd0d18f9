import itertools

import pytest
import torch

from narrows.bottlenecks import LookupFreeQuantizer
from narrows.testing import check_bottleneck


def _codebook(quantizer):
    return quantizer.embed(torch.arange(quantizer.size)).double()


def _soft(quantizer, x):
    """The softmax over all codes, by its definition."""
    x = torch.nn.functional.normalize(x, dim=-1) if quantizer.spherical else x
    distance = torch.cdist(x.double(), _codebook(quantizer)).square()
    return torch.softmax(-quantizer.sharpness / quantizer.scale**2 * distance, -1)


@pytest.mark.parametrize("spherical", [False, True])
def test_it_keeps_the_contract(spherical):
    check_bottleneck(LookupFreeQuantizer(6, spherical))


@pytest.mark.parametrize("spherical", [False, True])
def test_indices_are_a_bijection_with_the_corners_of_a_cube(spherical):
    quantizer = LookupFreeQuantizer(5, spherical)
    z = quantizer.embed(torch.arange(32))
    length = 5**-0.5 if spherical else 1.0
    corners = torch.tensor(list(itertools.product([-length, length], repeat=5)))
    assert torch.equal(z.unique(dim=0), corners.unique(dim=0))
    assert torch.equal(quantizer(z).code, torch.arange(32))
    if spherical:
        assert torch.allclose(z.norm(dim=1), torch.ones(32))


@pytest.mark.parametrize("spherical", [False, True])
def test_the_code_is_the_nearest_corner(spherical):
    quantizer = LookupFreeQuantizer(6, spherical)
    x = torch.randn(200, 6)
    unit = torch.nn.functional.normalize(x, dim=1) if spherical else x
    nearest = torch.cdist(unit.double(), _codebook(quantizer)).argmin(1)
    assert torch.equal(quantizer(x).code, nearest)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_twenty_bits_are_exact_in_every_precision(dtype):
    quantizer = LookupFreeQuantizer(20)
    index = torch.randint(1 << 20, (500,))
    assert torch.equal(quantizer(quantizer.embed(index).to(dtype)).code, index)


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("sharpness", [0.3, 2.0])
def test_the_entropy_is_that_of_the_softmax_over_all_codes(spherical, sharpness):
    quantizer = LookupFreeQuantizer(6, spherical, sharpness=sharpness).double()
    x = torch.randn(10, 3, 6, dtype=torch.float64)
    p = _soft(quantizer, x)
    expected = -torch.xlogy(p, p).sum(-1).sum(1)
    assert torch.allclose(quantizer(x).terms["entropy"], expected)


def test_entropies_stay_finite_for_features_far_out():
    quantizer = LookupFreeQuantizer(4)
    x = torch.full((2, 4), 1e4, requires_grad=True)
    latent = quantizer(x)
    (latent.terms["entropy"] - latent.terms["diversity"]).sum().backward()
    assert latent.terms["entropy"].abs().max() == 0
    assert x.grad.isfinite().all()


def test_the_mean_diversity_has_value_and_gradient_of_the_entropy_of_the_mean():
    quantizer = LookupFreeQuantizer(5, decay=0.0).double()
    x = torch.randn(40, 5, dtype=torch.float64, requires_grad=True)
    quantizer.update([quantizer(x)])  # decay 0: the marginal is this batch's
    mean = torch.sigmoid(4 * x).mean(0)
    entropy = -(mean * mean.log() + (1 - mean) * (1 - mean).log()).sum()
    diversity = quantizer(x).terms["diversity"].mean()
    assert torch.allclose(diversity, entropy)
    (expected,) = torch.autograd.grad(entropy, x)
    (got,) = torch.autograd.grad(diversity, x)
    assert torch.allclose(got, expected)


def test_micro_batches_give_the_marginal_of_the_whole_batch():
    whole, split = LookupFreeQuantizer(4), LookupFreeQuantizer(4)
    x = torch.randn(24, 2, 4)
    whole.update([whole(x)])
    split.update([split(part) for part in x.split([4, 20])])
    assert torch.allclose(whole.marginal, split.marginal)
    assert not torch.allclose(whole.marginal, torch.full((4,), 0.5))
    before = whole.marginal.clone()
    whole.update([])
    whole.update([whole(x[:0])])
    assert torch.equal(before, whole.marginal)


def test_the_entropies_spread_features_over_the_codes():
    used = {}
    for weight in (0.0, 1.0):
        quantizer = LookupFreeQuantizer(6, commitment=0.0, entropy=weight)
        torch.manual_seed(0)
        data = torch.randn(2000, 6)
        offset = torch.full((6,), 1.0, requires_grad=True)  # an encoder that favours ones
        optimizer = torch.optim.Adam([offset], lr=0.05)
        for _ in range(200):
            latent = quantizer(data + offset)
            terms = quantizer.weights.items()
            loss = sum(w * latent.terms[name] for name, w in terms).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            quantizer.update([latent])
        used[weight] = quantizer.summary(quantizer(data + offset).stats, 1)["perplexity"]
    assert used[1.0] > 60
    assert used[0.0] < 20


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="dim <= 20"):
        LookupFreeQuantizer(21)
    with pytest.raises(ValueError, match="sharpness > 0"):
        LookupFreeQuantizer(4, sharpness=0.0)
    with pytest.raises(ValueError, match="integer"):
        LookupFreeQuantizer(4).embed(torch.zeros(2))
