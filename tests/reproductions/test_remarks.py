"""What is measured of the sentences that documents say in passing, on cases with known answers."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

import narrows as nw
from narrows.networks import Mlp
from reproductions.autoencoder_guide.remarks import discrete, inference, inpainting, sequences
from reproductions.laplace_cauchy_slides import components, covariance, stable
from reproductions.training import binary, subset


def _factor_analysis():
    """A linear decoder of one normal coordinate, whose log p(x) is known; and data from it."""
    torch.manual_seed(0)
    likelihood = nw.likelihoods.Normal(0.7)
    model = nw.Autoencoder.for_vectors(
        3, nw.bottlenecks.Variational(1), network=Mlp(()), likelihood=likelihood
    ).eval()
    layer = next(m for m in model.decoder.modules() if isinstance(m, torch.nn.Linear))
    w, b = layer.weight.detach()[:, 0], layer.bias.detach()
    law = torch.distributions.MultivariateNormal(b, w.outer(w) + 0.49 * torch.eye(3))
    x = law.sample((6,))
    return model, x, law.log_prob(x)


def test_draws_from_the_prior_find_the_likelihood_of_a_linear_model():
    model, x, known = _factor_analysis()
    nll, size = inference.from_prior(model, x, 40_000, seed=0)
    torch.testing.assert_close(-nll, known.double(), atol=0.05, rtol=0)
    assert ((size > 1) & (size <= 40_000)).all()


def test_a_q_of_its_own_reaches_the_likelihood_where_the_posterior_is_normal():
    model, x, known = _factor_analysis()
    shared, own, slower = inference.bounds(model, x, seed=0, steps=150)
    assert shared < own - 0.01
    assert own == pytest.approx(float(known.mean()), abs=0.02)
    assert slower > 1


def test_a_category_is_named_by_its_commonest_class():
    truth = torch.arange(10).repeat(5)
    turned = (truth + 3) % 10
    assert discrete.named(turned, turned, truth, truth) == 1
    assert discrete.named(torch.zeros_like(truth), torch.zeros_like(truth), truth, truth) == 0.1


def test_a_hole_is_one_square_inside_the_image():
    hole = inpainting.holes(torch.zeros(50, 1, 20, 20), 0.3)
    assert hole.shape == (50, 1, 20, 20)
    assert (hole.sum((1, 2, 3)) == 36).all()
    assert (hole.any(3).sum((1, 2)) == 6).all()
    assert len(torch.unique(hole, dim=0)) > 10


def test_a_token_is_sixteen_samples_in_a_row():
    signals = torch.arange(256.0).view(2, 128)
    pictures = sequences.tokens(signals)
    assert pictures.shape == (2, 1, 4, 32)
    assert pictures[0, 0, :, 4:8].flatten().tolist() == list(range(16, 32))
    assert 0 <= float(sequences.spectra(5, 0).min()) < float(sequences.spectra(5, 0).max()) <= 1


def test_black_and_white_images_are_cut_at_one_half_once():
    data = subset("digits", 30, 10)
    cut = binary(data)
    assert cut is binary(data)
    x, y = data.train.batch(torch.arange(30)), cut.train.batch(torch.arange(30))
    assert torch.equal(y, (x > 0.5).float())
    assert torch.equal(cut.test.labels, data.test.labels)


@pytest.mark.parametrize(("alpha", "law"), [(1.0, stats.cauchy), (2.0, stats.norm(scale=2**0.5))])
def test_stable_draws_are_the_cauchy_at_one_and_the_normal_at_two(alpha, law):
    draws = stable.stable(alpha, 20_000, np.random.default_rng(0))
    assert stats.kstest(draws, law.cdf).pvalue > 0.01


def test_a_laplace_sum_is_told_from_a_draw_and_stable_sums_are_not(tmp_path):
    one, two = np.random.default_rng(0).normal(size=(2, 300))
    assert stable.distance(one, two) == pytest.approx(stats.ks_2samp(one, two).statistic)
    found = stable.sums_against_draws(tmp_path, draws=50_000, seed=0)
    assert found["largest"] < 0.012 < 0.02 < found["laplace"]


def test_the_printed_divergence_of_a_full_covariance_is_torchs():
    random = np.random.default_rng(0)
    mean, root = random.normal(size=3), random.normal(size=(3, 3))
    q = torch.distributions.MultivariateNormal(
        torch.from_numpy(mean), torch.from_numpy(root @ root.T)
    )
    p = torch.distributions.MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    known = float(torch.distributions.kl_divergence(q, p))
    assert covariance.printed(mean, root @ root.T) == pytest.approx(known)
    assert covariance.integral(mean, root) == pytest.approx(known)


def test_the_area_of_a_pixel_of_noise_and_of_a_flat_filter():
    torch.manual_seed(0)
    filters = torch.stack([torch.eye(5000)[0], torch.ones(5000), torch.randn(5000)])
    one, flat, noise = components.area(filters).tolist()
    assert one == pytest.approx(1 / 5000)
    assert flat == pytest.approx(1)
    assert noise == pytest.approx(1 / 3, abs=0.03)
    assert math.isclose(components.area(7 * filters)[2].item(), noise, rel_tol=1e-5)
