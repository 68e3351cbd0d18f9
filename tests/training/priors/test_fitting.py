"""Fitted priors approach the entropy of what they were fitted to."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from narrows.autoencoder import Autoencoder
from narrows.bottlenecks import SparseDictionary, TopK, VectorQuantizer
from narrows.codes import Indices
from narrows.latent import Latent
from narrows.priors.categorical import CategoricalPrior
from narrows.priors.pixelcnn import PixelCNN
from narrows.priors.transformer import AutoregressiveTransformer
from narrows.training.priors.fitting import fit_by_gradient, fit_in_one_pass
from narrows.training.priors.learned import fit_pixelcnn, fit_sparse, fit_transformer
from narrows.training.priors.measuring import bits, latents


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
    fitted = fit_by_gradient(prior, model, data, epochs=6, batch_size=64, learning_rate=1e-2)
    assert torch.equal(torch.get_rng_state(), before)
    assert fitted.report.default_test == pytest.approx(32.0)  # uniform: 16 sites of 2 bits
    assert ENTROPY * 0.97 < fitted.report.test < ENTROPY * 1.12


def test_the_transformer_learns_the_chain_too(data):
    torch.manual_seed(0)
    prior = AutoregressiveTransformer((4, 4), 4, hidden=32, depth=1, heads=2)
    model = Codes(CategoricalPrior((4, 4), 4))
    fitted = fit_by_gradient(prior, model, data, epochs=8, batch_size=64, learning_rate=1e-2)
    assert ENTROPY * 0.97 < fitted.report.test < ENTROPY * 1.12


def test_a_conditional_pixelcnn_draws_codes_of_the_class_asked_for(data):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (2000,), generator=generator)
    codes = 2 * labels[:, None, None] + torch.randint(2, (2000, 2, 2), generator=generator)
    split = Rows(codes, labels)
    labelled = SimpleNamespace(train=split, validation=split, test=split)
    model = Codes(CategoricalPrior((2, 2), 4))
    options = {"width": 16, "layers": 1, "epochs": 5, "learning_rate": 2e-2}
    prior = fit_pixelcnn(model, labelled, conditional=True, **options)
    wanted = torch.arange(200) % 2
    drawn = prior.sample(200, torch.Generator().manual_seed(0), label=wanted)
    assert (drawn // 2 == wanted[:, None, None]).float().mean() > 0.98
    assert prior.report.test == pytest.approx(1 + 4, rel=0.03)  # the class, and 4 free bits
    with pytest.raises(ValueError, match="labels"):
        fit_pixelcnn(model, data, conditional=True)


def test_the_same_seed_gives_the_same_prior(data):
    model = Codes(CategoricalPrior((4, 4), 4))
    few = SimpleNamespace(train=Rows(chains(64, 0)), validation=data.test, test=data.test)
    first, again, other = (
        fit_pixelcnn(model, few, width=8, layers=1, epochs=1, seed=seed) for seed in (1, 1, 2)
    )
    assert first.report.test == again.report.test != other.report.test


def test_a_histogram_is_fitted_in_one_pass(data):
    model = Codes(CategoricalPrior((4, 4), 4))
    prior = fit_in_one_pass(CategoricalPrior((4, 4), 4), model, data)
    assert prior.report.test == pytest.approx(32.0, rel=0.01)
    assert prior.report.epoch == 0


def test_priors_are_fitted_to_real_models_of_images():
    import narrows as nw

    torch.manual_seed(0)
    digits = nw.data.load("digits")
    model = Autoencoder.for_images(digits.shape, VectorQuantizer(8, 4))
    model.latent(digits.train.batch(torch.arange(64)))
    learned = fit_pixelcnn(model, digits, width=8, layers=2, epochs=2)
    sequence = fit_transformer(model, digits, width=8, depth=1, heads=1, epochs=1)
    assert learned.report.test < learned.report.default_test
    assert sequence.report.test > 0
    model.prior = learned
    assert model.sample(2).shape == (2, *digits.shape)


def test_a_sparse_model_gets_a_prior_over_its_tokens():
    import narrows as nw

    torch.manual_seed(0)
    digits = nw.data.load("digits")
    model = Autoencoder.for_images(digits.shape, SparseDictionary(16, 4, TopK(2)))
    prior = fit_sparse(model, digits, features=8, depth=1, epochs=1)
    assert prior.width == 2
    assert math.isfinite(prior.report.test)
    with pytest.raises(ValueError, match="integers"):
        fit_pixelcnn(model, digits)


def test_rates_of_a_split_do_not_depend_on_the_batch_size(data):
    torch.manual_seed(0)
    prior, model = PixelCNN((4, 4), 4, hidden=8, layers=1), Codes(CategoricalPrior((4, 4), 4))
    figures = [bits(prior, latents(model, data.test, size)) for size in (100, 256, 2000)]
    assert figures == pytest.approx([figures[0]] * 3, rel=1e-6)


def test_numbers_out_of_range_are_refused(data):
    with pytest.raises(ValueError, match="epochs and batch_size"):
        fit_by_gradient(PixelCNN((4, 4), 4), Codes(None), data, 0, 64, 1e-3)
    with pytest.raises(ValueError, match="at least one example"):
        bits(PixelCNN((4, 4), 4), [])
