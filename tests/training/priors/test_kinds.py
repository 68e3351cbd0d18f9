"""Kinds of priors: what suits which code, and what is said otherwise."""

import math

import pytest
import torch

import narrows as nw
from narrows.bottlenecks import Identity, SparseDictionary, SpikeAndSlab, TopK, VectorQuantizer
from narrows.networks import Conv, Mlp
from narrows.priors import SparseFactorial
from narrows.training.priors.kinds import KINDS, Settings, codes_of, fit_kind, suits


@pytest.fixture(scope="module")
def data():
    return nw.data.load("digits", train_examples=200, test_examples=50)


def model(data, bottleneck, network=None):
    torch.manual_seed(0)
    network = network or Conv(hidden=8, residual_layers=0, downsamplings=1)
    return nw.Autoencoder.for_images(data.shape, bottleneck, network)


@pytest.mark.parametrize(
    ("bottleneck", "kinds"),
    [
        (VectorQuantizer(8, 4), {"uniform", "histogram", "pixelcnn", "transformer"}),
        (nw.bottlenecks.Categorical(2, 4), {"uniform", "histogram", "pixelcnn", "transformer"}),
        (Identity(2), {"quantized", "mixture"}),
        (nw.bottlenecks.Variational(2), {"quantized", "mixture"}),
        (SpikeAndSlab(2), {"quantized"}),
        (SparseDictionary(8, 4, TopK(2)), {"factorial", "support", "tokens"}),
        (nw.bottlenecks.Split([Identity(2), VectorQuantizer(8, 4)]), set()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_code_has_its_kinds(bottleneck, kinds):
    prior = bottleneck.default_prior((2, 2))
    assert {kind for kind in KINDS if suits(kind, prior)} == kinds


def test_a_pixelcnn_needs_a_map_of_sites(data):
    prior = VectorQuantizer(8, 4).default_prior(())
    assert suits("transformer", prior)
    assert not suits("pixelcnn", prior)
    with pytest.raises(ValueError, match=r"pixelcnn does not suit .* indices on sites \(\)"):
        fit_kind("pixelcnn", model(data, VectorQuantizer(8, 4), Mlp()), data)


def test_what_does_not_fit_is_said(data):
    vq = model(data, VectorQuantizer(8, 4))
    with pytest.raises(ValueError, match="did you mean 'histogram'"):
        fit_kind("histgram", vq, data)
    with pytest.raises(ValueError, match="quantized does not suit this run: its codes are indices"):
        fit_kind("quantized", vq, data)
    with pytest.raises(ValueError, match="histogram knows no classes"):
        fit_kind("histogram", vq, data, Settings(conditional=True))


def test_uniform_costs_log2_k_for_every_index(data):
    one = model(data, VectorQuantizer(8, 4))
    assert fit_kind("uniform", one, data).report.test == pytest.approx(16 * 3)
    both = model(data, nw.bottlenecks.Categorical(categories=5, variables=2))
    assert fit_kind("uniform", both, data).report.test == pytest.approx(16 * 2 * math.log2(5))


def test_coarseness_is_a_factor_of_the_step_whatever_the_step_is(data):
    plain = model(data, Identity(2))
    one, two = (
        fit_kind("quantized", plain, data, Settings(coarseness=factor)) for factor in (1.0, 3.0)
    )
    assert torch.allclose(two.steps, 3 * one.steps)
    stated = fit_kind("quantized", plain, data, Settings(step=0.1, coarseness=3.0))
    assert stated.steps.tolist() == pytest.approx([0.3, 0.3])
    sparse = model(data, SparseDictionary(8, 4, TopK(2)))
    sparse.prior = SparseFactorial(sparse.prior.sites, 8, step=0.2)
    assert fit_kind("factorial", sparse, data, Settings(coarseness=2.0)).step == 0.4
    assert fit_kind("support", sparse, data, Settings(components=2)).step == 0.2


def test_exact_zeros_of_spike_and_slab_stay_zero(data):
    slab = model(data, SpikeAndSlab(2))
    assert codes_of(slab.prior) == "values with exact zeros"
    prior = fit_kind("quantized", slab, data)
    assert prior.quantize(torch.zeros(1, 4, 4, 2)).abs().max() == 0
