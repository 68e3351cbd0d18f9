"""Fitted priors approach the entropy of what they were fitted to."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import narrows as nw
from narrows.autoencoder import Autoencoder
from narrows.bottlenecks import SparseDictionary, TopK, VectorQuantizer
from narrows.codes import Indices, Values
from narrows.latent import Latent
from narrows.priors import Prior
from narrows.priors.categorical import CategoricalPrior
from narrows.priors.pixelcnn import PixelCNN
from narrows.priors.transformer import AutoregressiveTransformer
from narrows.training import latents
from narrows.training.priors import PriorRecipe, find_recipe, fit_prior
from narrows.training.priors.fitting import mean_bits


class Codes(nn.Module):
    """A model whose examples are its codes."""

    def __init__(self, prior):
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))
        self.prior = prior
        self.bottleneck = SimpleNamespace(codes=Indices(4))

    def latent(self, x):
        return Latent(z=torch.zeros(len(x), 1), code=x.long(), features=torch.zeros(len(x), 1))


class Rows:
    """A split of given examples."""

    def __init__(self, examples, labels=None):
        self.examples, self.labels = examples, labels

    def __len__(self):
        return len(self.examples)

    def batch(self, index):
        return self.examples[index]

    def batch_labels(self, index):
        return None if self.labels is None else self.labels[index]


class Shared(Prior):
    """A user's prior: one learned table over all indices, trained by gradient."""

    space = Indices
    learning_rate = 0.1

    def __init__(self, sites, size, *, channels=None, scale=1.0):
        super().__init__(sites)
        self.logits = nn.Parameter(scale * torch.randn(size))
        self.shape = (*self.sites, *((channels,) if channels else ()))

    def rate(self, latent):
        return -self.logits.log_softmax(0)[latent.code].flatten(1).sum(1)

    def sample(self, n, generator=None):
        count = n * math.prod(self.shape)
        weights = self.logits.detach().exp()
        drawn = torch.multinomial(weights, count, replacement=True, generator=generator)
        return drawn.view(n, *self.shape)


def chains(n, seed):
    """Maps 4x4 of which each code in raster order repeats the last with probability 0.9."""
    generator = torch.Generator().manual_seed(seed)
    new = torch.rand(n, 16, generator=generator) < 0.1
    new[:, 0] = True
    fresh = torch.randint(4, (n, 16), generator=generator)
    place = torch.where(new, torch.arange(16), 0).cummax(1).values
    return fresh.gather(1, place).view(n, 4, 4)


# A repeat, or one of four at random: p(same) = 0.925, three others 0.025 each.
ENTROPY = 2 + 15 * -(0.925 * math.log2(0.925) + 3 * 0.025 * math.log2(0.025))


@pytest.fixture(scope="module")
def data():
    return SimpleNamespace(
        train=Rows(chains(2500, 0)), validation=Rows(chains(300, 1)), test=Rows(chains(1000, 2))
    )


def test_pixelcnn_comes_near_the_entropy_of_a_markov_chain(data):
    torch.manual_seed(0)
    prior = PixelCNN((4, 4), 4, hidden=16, layers=3, kernel=3)
    model = Codes(CategoricalPrior((4, 4), 4))
    before = torch.get_rng_state()
    fitted = fit_prior(model, data, prior=prior, epochs=6, learning_rate=1e-2)
    assert torch.equal(torch.get_rng_state(), before)
    assert fitted.report.default_test == pytest.approx(32.0)  # uniform: 16 sites of 2 bits
    assert ENTROPY * 0.97 < fitted.report.test < ENTROPY * 1.12


def test_the_transformer_learns_the_chain_too(data):
    torch.manual_seed(0)
    prior = AutoregressiveTransformer((4, 4), 4, hidden=32, depth=1, heads=2)
    model = Codes(CategoricalPrior((4, 4), 4))
    fitted = fit_prior(model, data, prior=prior, epochs=8, learning_rate=1e-2)
    assert ENTROPY * 0.97 < fitted.report.test < ENTROPY * 1.12


def test_a_conditional_pixelcnn_draws_codes_of_the_class_asked_for(data):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (2000,), generator=generator)
    codes = 2 * labels[:, None, None] + torch.randint(2, (2000, 2, 2), generator=generator)
    split = Rows(codes, labels)
    labelled = SimpleNamespace(train=split, validation=split, test=split)
    model = Codes(CategoricalPrior((2, 2), 4))
    recipe = replace(
        find_recipe("pixelcnn").with_options({"hidden": 16, "layers": 1}), conditional=True
    )
    fitted = fit_prior(model, labelled, prior=recipe, epochs=5, learning_rate=2e-2)
    wanted = torch.arange(200) % 2
    drawn = fitted.prior.sample(200, torch.Generator().manual_seed(0), label=wanted)
    assert (drawn // 2 == wanted[:, None, None]).float().mean() > 0.98
    assert fitted.report.test == pytest.approx(1 + 4, rel=0.03)  # the class, and 4 free bits
    with pytest.raises(ValueError, match="labels"):
        fit_prior(model, data, prior=recipe)


def test_the_same_seed_gives_the_same_prior(data):
    model = Codes(CategoricalPrior((4, 4), 4))
    few = SimpleNamespace(train=Rows(chains(64, 0)), validation=data.test, test=data.test)
    recipe = find_recipe("pixelcnn").with_options({"hidden": 8, "layers": 1, "epochs": 1})
    first, again, other = (fit_prior(model, few, prior=recipe, seed=seed) for seed in (1, 1, 2))
    assert first.report.test == again.report.test != other.report.test


def test_a_mixture_of_random_codes_depends_on_the_seed_alone():
    digits = nw.data.load("digits", train_examples=200, test_examples=50)
    torch.manual_seed(0)
    model = Autoencoder.for_images(digits.shape, nw.Variational(2))
    recipe = find_recipe("mixture").with_options({"components": 2})
    first, again, other = (fit_prior(model, digits, prior=recipe, seed=s) for s in (1, 1, 2))
    assert first.report.test == again.report.test != other.report.test


def test_a_prior_of_another_size_is_refused(data):
    model = Codes(CategoricalPrior((4, 4), 4))
    with pytest.raises(TypeError, match=r"0\.\.2\) .*0\.\.3\)"):
        fit_prior(model, data, prior=CategoricalPrior((4, 4), 3))


def test_a_histogram_is_fitted_in_one_pass(data):
    model = Codes(CategoricalPrior((4, 4), 4))
    fitted = fit_prior(model, data, prior=CategoricalPrior((4, 4), 4))
    assert fitted.report.test == pytest.approx(32.0, rel=0.01)
    assert fitted.report.epoch == 0


def test_a_prior_of_the_user_is_fitted_as_it_declares():
    generator = torch.Generator().manual_seed(0)
    codes = (4 * torch.rand(2000, 4, 4, generator=generator) ** 3).long()  # small ones are likelier
    skewed = SimpleNamespace(train=Rows(codes), validation=Rows(codes), test=Rows(codes))
    model = Codes(CategoricalPrior((4, 4), 4))
    histogram = fit_prior(model, skewed, prior="histogram").report
    recipe = PriorRecipe("shared", Shared, {"scale": 0.5}, epochs=3)
    fitted = fit_prior(model, skewed, prior=recipe)
    assert isinstance(fitted.prior, Shared)
    assert fitted.report.epoch >= 1
    assert fitted.report.test == pytest.approx(histogram.test, rel=0.01)
    assert histogram.test < 28
    assert "integer indices" in recipe.refusal(Values(2), (4, 4))


def test_priors_are_fitted_to_real_models_of_images():
    torch.manual_seed(0)
    digits = nw.data.load("digits")
    model = Autoencoder.for_images(digits.shape, VectorQuantizer(8, 4))
    model.latent(digits.train.batch(torch.arange(64)))
    small = {"hidden": 8, "layers": 2, "depth": 1, "heads": 1}
    learned = fit_prior(model, digits, prior=find_recipe("pixelcnn").with_options(small), epochs=2)
    sequence = fit_prior(
        model, digits, prior=find_recipe("transformer").with_options(small), epochs=1
    )
    assert learned.report.test < learned.report.default_test
    assert sequence.report.test > 0
    model.prior = learned.prior
    assert model.sample(2).shape == (2, *digits.shape)


def test_a_sparse_model_gets_a_prior_over_its_tokens():
    torch.manual_seed(0)
    digits = nw.data.load("digits")
    model = Autoencoder.for_images(digits.shape, SparseDictionary(16, 4, coder=TopK(2)))
    recipe = find_recipe("tokens").with_options({"hidden": 8, "depth": 1})
    fitted = fit_prior(model, digits, prior=recipe, epochs=1)
    assert fitted.prior.k == 2
    assert math.isfinite(fitted.report.test)
    with pytest.raises(TypeError, match="integer indices, and the bottleneck makes atoms"):
        fit_prior(model, digits, prior="pixelcnn")


def test_rates_of_a_split_do_not_depend_on_the_batch_size(data):
    torch.manual_seed(0)
    prior, model = PixelCNN((4, 4), 4, hidden=8, layers=1), Codes(CategoricalPrior((4, 4), 4))
    figures = [
        mean_bits(prior, latents(model, data.test, batch_size=size)) for size in (100, 256, 2000)
    ]
    assert figures == pytest.approx([figures[0]] * 3, rel=1e-6)


def test_numbers_out_of_range_are_refused(data):
    with pytest.raises(ValueError, match="epochs and batch_size"):
        fit_prior(Codes(CategoricalPrior((4, 4), 4)), data, prior=PixelCNN((4, 4), 4), epochs=0)
    with pytest.raises(ValueError, match="at least one example"):
        mean_bits(PixelCNN((4, 4), 4), [])
