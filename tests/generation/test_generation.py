"""Paths begin and end at their codes and pass through codes only."""

import itertools
import math

import pytest
import torch
from scipy import stats

import narrows as nw
from narrows.bottlenecks import Identity, SparseDictionary, TopK, VectorQuantizer
from narrows.codes import Atoms, AtomValues, Indices, Values
from narrows.generation import (
    blending,
    complete,
    interpolate,
    linear,
    mask_sites,
    path_for,
    redraw,
    spherical,
    switching,
)
from narrows.networks import Conv
from narrows.priors import PixelCNN


def model_of(bottleneck):
    torch.manual_seed(0)
    return nw.Autoencoder.for_images((1, 8, 8), bottleneck, network=Conv(8)).eval()


def dense(code, size):
    return torch.zeros(*code[0].shape[:-1], size).scatter_add(-1, *code)


def sparse_codes():
    a = Atoms(torch.tensor([[[1, 4]]]), torch.tensor([[[1.0, -2.0]]]))
    b = Atoms(torch.tensor([[[0, 4]]]), torch.tensor([[[3.0, 2.0]]]))
    return a, b


@pytest.mark.parametrize("path", [linear, spherical])
def test_continuous_paths_begin_and_end_at_their_codes(path):
    a, b = torch.randn(5, 3, 2), torch.randn(5, 3, 2)
    assert torch.allclose(path(a, b, t=0.0), a, atol=1e-6)
    assert torch.allclose(path(a, b, t=1.0), b, atol=1e-6)


def test_spherical_paths_stay_on_the_sphere_and_move_at_constant_speed():
    a, b = (torch.nn.functional.normalize(torch.randn(4, 6), dim=1).double() for _ in range(2))
    points = [spherical(a, b, t=i / 10) for i in range(11)]
    assert all(torch.allclose(p.norm(dim=1), torch.ones(4).double()) for p in points)
    strides = torch.stack([(q - p).norm(dim=1) for p, q in itertools.pairwise(points)])
    assert torch.allclose(strides, strides[:1].expand(10, 4), rtol=1e-5)


def test_parallel_codes_have_a_straight_path():
    a = torch.randn(2, 4)
    assert torch.allclose(spherical(a, 3 * a, t=0.5), 2 * a, atol=1e-5)


def test_switching_changes_one_differing_index_after_another():
    a, b = torch.tensor([[0, 1, 2, 3, 4, 5]]), torch.tensor([[0, 9, 2, 8, 7, 6]])
    changed = [int((switching(a, b, t=i / 4) != a).sum()) for i in range(5)]
    assert changed == [0, 1, 2, 3, 4]
    assert torch.equal(switching(a, b, t=1.0), b)
    middle = switching(a, b, t=0.5)
    assert bool(((middle == a) | (middle == b)).all())


def test_blending_is_the_weighted_sum_of_the_dense_codes():
    a, b = sparse_codes()
    for t in (0.0, 0.25, 0.5, 1.0):
        mixed = blending(a, b, t=t)
        expected = (1 - t) * dense(a, 6) + t * dense(b, 6)
        assert torch.allclose(dense(mixed, 6), expected)
        active = mixed[1] != 0
        assert active.sum() == (expected != 0).sum()  # no atom twice


def test_interpolations_of_every_family_begin_and_end_at_reconstructions():
    x = torch.rand(4, 1, 8, 8)
    for bottleneck in (Identity(3), VectorQuantizer(16, 4), SparseDictionary(8, 4, coder=TopK(2))):
        model = model_of(bottleneck)
        images = interpolate(model, x[:2], b=x[2:], steps=4)
        assert images.shape == (2, 4, 1, 8, 8)
        assert torch.allclose(images[:, 0], model.reconstruct(x[:2]), atol=1e-5)
        assert torch.allclose(images[:, -1], model.reconstruct(x[2:]), atol=1e-5)


def test_each_kind_of_code_has_its_path():
    assert path_for(Values(2)) is spherical
    assert path_for(Indices(4)) is switching
    assert path_for(AtomValues(4, 2)) is blending
    for path, code in (
        (linear, torch.zeros(1, 2, dtype=torch.long)),
        (spherical, sparse_codes()[0]),
        (switching, torch.zeros(1, 2)),
        (blending, torch.zeros(1, 2)),
    ):
        with pytest.raises(ValueError, match=r"use|for"):
            path(code, code, t=0.5)


def test_masking_a_site_changes_the_image_around_it():
    model = model_of(Identity(3))
    x = torch.rand(2, 1, 8, 8)
    images = mask_sites(model, x)
    assert images.shape == (2, 4, 1, 8, 8)
    assert all((images[:, i] - model.reconstruct(x)).abs().max() > 0 for i in range(4))


def test_completion_keeps_what_is_kept_and_draws_the_rest_given_it():
    model = model_of(VectorQuantizer(3, 4))
    torch.manual_seed(1)
    model.prior = PixelCNN((2, 2), 3, hidden=8, layers=2)
    for weight in model.prior.parameters():
        weight.data.add_(0.2 * torch.randn_like(weight))
    code = torch.tensor([[[2, 1], [0, 0]]]).expand(6000, 2, 2)
    keep = torch.tensor([[True, True], [True, False]]).expand(6000, 2, 2)
    found = complete(model, code, keep=keep, generator=torch.Generator().manual_seed(0))
    assert torch.equal(found[keep], code[keep])
    # The last site given all others has the probabilities that the prior says.
    with torch.no_grad():
        p = model.prior.logits(code[:1])[0, 1, 1].double().softmax(0)
    counts = torch.bincount(found[:, 1, 1], minlength=3).numpy()
    assert stats.chisquare(counts, (p / p.sum() * 6000).numpy()).pvalue > 1e-3


def test_redrawing_keeps_the_upper_half_of_the_code():
    model = model_of(VectorQuantizer(3, 4))
    torch.manual_seed(1)
    model.prior = PixelCNN((2, 2), 3, hidden=8, layers=2)
    x = torch.rand(2, 1, 8, 8)
    code = model.encode(x)
    every = [
        model.decode(torch.cat([code[:, :1], torch.tensor(low).expand(2, 1, 2)], dim=1))
        for low in itertools.product(range(3), repeat=2)
    ]
    images = redraw(model, x, draws=5, generator=torch.Generator().manual_seed(0))
    assert images.shape == (2, 5, 1, 8, 8)
    for draw in images.unbind(1):  # one of the nine codes with this upper half
        gaps = torch.stack([(draw - one).abs().flatten(1).amax(1) for one in every])
        assert float(gaps.amin(0).max()) < 1e-5
    with pytest.raises(TypeError, match="integer codes"):
        redraw(model_of(SparseDictionary(8, 4, coder=TopK(2))), x, draws=2)
    with pytest.raises(TypeError, match="integer codes"):
        redraw(model_of(Identity(2)), x, draws=2)


def test_a_conditional_prior_completes_under_the_mixture_of_its_classes():
    """Without a class the missing index follows p(code) over both classes, by enumeration."""
    model = model_of(VectorQuantizer(3, 4))
    torch.manual_seed(3)
    model.prior = PixelCNN((2, 2), 3, hidden=8, layers=2, classes=2)
    for weight in model.prior.parameters():
        weight.data.add_(0.3 * torch.randn_like(weight))
    code = torch.tensor([[[2, 1], [0, 0]]])
    every = code.repeat(3, 1, 1)
    every[:, 1, 1] = torch.arange(3)
    with torch.no_grad():
        p = model.prior.log_prob(every).double().softmax(0)
    keep = torch.tensor([[True, True], [True, False]]).expand(6000, 2, 2)
    found = complete(
        model, code.expand(6000, 2, 2), keep=keep, generator=torch.Generator().manual_seed(0)
    )
    counts = torch.bincount(found[:, 1, 1], minlength=3).numpy()
    assert stats.chisquare(counts, (p * 6000).numpy()).pvalue > 1e-3


def test_what_cannot_be_done_is_refused():
    model = model_of(VectorQuantizer(3, 4))
    code = torch.zeros(1, 2, 2, dtype=torch.long)
    with pytest.raises(TypeError, match=r"fit_prior.*pixelcnn"):
        complete(model, code, keep=code > 0)
    with pytest.raises(ValueError, match="at least 2 steps"):
        interpolate(model, torch.rand(1, 1, 8, 8), b=torch.rand(1, 1, 8, 8), steps=1)
    vectors = nw.Autoencoder.for_vectors(4, Identity(2))
    with pytest.raises(ValueError, match="no sites"):
        mask_sites(vectors, torch.rand(1, 4))
    assert math.isfinite(float(linear(torch.zeros(1, 2), torch.ones(1, 2), t=0.5).sum()))
