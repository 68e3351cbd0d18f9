"""Recipes of priors: what suits which code, what is asked for, and what is said otherwise."""

import math
from dataclasses import replace

import pytest
import torch

import narrows as nw
from narrows.bottlenecks import Identity, SparseDictionary, SpikeAndSlab, TopK, VectorQuantizer
from narrows.networks import Conv, Mlp
from narrows.priors import SparseFactorial
from narrows.training import latents
from narrows.training.priors import find_recipe, fit_prior, shipped_recipes


@pytest.fixture(scope="module")
def data():
    return nw.data.load("digits", train_examples=200, test_examples=50)


def model(data, bottleneck, network=None):
    torch.manual_seed(0)
    network = network or Conv(hidden=8, residual_layers=0, downsamplings=1)
    return nw.Autoencoder.for_images(data.shape, bottleneck, network=network)


@pytest.mark.parametrize(
    ("bottleneck", "kinds"),
    [
        (VectorQuantizer(8, 4), {"uniform", "histogram", "pixelcnn", "transformer"}),
        (nw.bottlenecks.Categorical(2, 4), {"uniform", "histogram", "pixelcnn", "transformer"}),
        (Identity(2), {"quantized", "mixture"}),
        (nw.bottlenecks.Variational(2), {"quantized", "mixture"}),
        (SpikeAndSlab(2), {"quantized"}),
        (SparseDictionary(8, 4, coder=TopK(2)), {"factorial", "support", "tokens"}),
        (nw.bottlenecks.Split([Identity(2), VectorQuantizer(8, 4)]), set()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_code_has_its_priors(bottleneck, kinds):
    recipes = shipped_recipes().items()
    suited = {name for name, one in recipes if one.refusal(bottleneck.codes, (2, 2)) is None}
    assert suited == kinds


def test_every_recipe_says_what_it_is():
    assert len(shipped_recipes()) == 9
    assert all(len(recipe.about) > 20 for recipe in shipped_recipes().values())


def test_a_pixelcnn_needs_a_map_of_sites(data):
    codes = VectorQuantizer(8, 4).codes
    assert find_recipe("transformer").refusal(codes, ()) is None
    with pytest.raises(TypeError, match=r"pixelcnn does not suit .* 2 axes.* on sites \(\)"):
        fit_prior(model(data, VectorQuantizer(8, 4), Mlp()), data, prior="pixelcnn")


def test_what_does_not_fit_is_said(data):
    vq = model(data, VectorQuantizer(8, 4))
    with pytest.raises(ValueError, match="did you mean 'histogram'"):
        fit_prior(vq, data, prior="histgram")
    with pytest.raises(TypeError, match=r"QuantizedHistogram is for continuous values, and .*\.7"):
        fit_prior(vq, data, prior="quantized")
    with pytest.raises(ValueError, match="histogram knows no classes"):
        replace(find_recipe("histogram"), conditional=True)
    with pytest.raises(ValueError, match="PixelCNN has no argument 'layer'; did you mean 'layers'"):
        replace(find_recipe("pixelcnn"), arguments={"layer": 2})
    with pytest.raises(ValueError, match="expected the path of a class of priors"):
        find_recipe("narrows.bottlenecks.VectorQuantizer")
    with pytest.raises(ValueError, match="cannot import nowhere"):
        find_recipe("nowhere.Prior")


def test_uniform_costs_log2_k_for_every_index(data):
    one = model(data, VectorQuantizer(8, 4))
    assert fit_prior(one, data, prior="uniform").report.test == pytest.approx(16 * 3)
    both = model(data, nw.bottlenecks.Categorical(5, 2))
    assert fit_prior(both, data, prior="uniform").report.test == pytest.approx(
        16 * 2 * math.log2(5)
    )


def test_the_factor_multiplies_the_step_whatever_the_step_is(data):
    plain = model(data, Identity(2))
    one, two = (
        fit_prior(
            plain, data, prior=find_recipe("quantized").make(plain, data, factor=factor)
        ).prior
        for factor in (1.0, 3.0)
    )
    assert torch.allclose(two.steps, 3 * one.steps)
    stated = find_recipe("quantized").with_options({"step": 0.1}).make(plain, data, factor=3.0)
    assert stated.fit(latents(plain, data.train)).steps.tolist() == pytest.approx([0.3, 0.3])
    sparse = model(data, SparseDictionary(8, 4, coder=TopK(2)))
    sparse.prior = SparseFactorial(sparse.prior.sites, 8, step=0.2)
    assert find_recipe("factorial").make(sparse, data, factor=2.0).step == 0.4
    assert find_recipe("support").with_options({"components": 2}).make(sparse, data).step == 0.2


def test_exact_zeros_of_spike_and_slab_stay_zero(data):
    slab = model(data, SpikeAndSlab(2))
    prior = fit_prior(slab, data, prior="quantized").prior
    assert prior.quantize(torch.zeros(1, 4, 4, 2)).abs().max() == 0


def test_a_coarser_step_leaves_the_initial_weights_alone(data):
    sparse = model(data, SparseDictionary(8, 4, coder=TopK(2)))
    recipe = find_recipe("tokens").with_options({"hidden": 8})
    one, two = (recipe.make(sparse, data, seed=3, factor=factor) for factor in (1.0, 4.0))
    assert torch.equal(one.atom_head.weight, two.atom_head.weight)
    assert two.step == 4 * one.step


def test_a_recipe_is_found_by_file_or_class_path(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text("# A small one\nclass_path: narrows.priors.PixelCNN\ninit_args: {hidden: 8}\n")
    small = find_recipe(str(path))
    assert (small.name, small.about, small.arguments) == ("small", "A small one", {"hidden": 8})
    assert small.configuration["init_args"] == {"hidden": 8}
    assert find_recipe("narrows.priors.PixelCNN").name == "PixelCNN"
    path.write_text("class_path: narrows.priors.PixelCNN\nwidth: 8\n")
    with pytest.raises(ValueError, match="class_path and init_args and epochs"):
        find_recipe(str(path))
    path.write_text("class_path: narrows.priors.PixelCNN\nepochs: 0\n")
    with pytest.raises(ValueError, match="small: expected at least 1 epoch, got 0"):
        find_recipe(str(path))
    with pytest.raises(ValueError, match="there is no file"):
        find_recipe(str(tmp_path / "none.yaml"))
