"""What the claims measure, on cases whose answer is known."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributions import Normal as Gaussian
from torch.distributions import kl_divergence

import narrows as nw
from narrows.objectives import Denoising
from narrows.tasks import Call, Local, Outcome
from reproductions.autoencoder_guide import (
    convolutional,
    derivations,
    gradients,
    linear,
    quantised,
)
from reproductions.autoencoder_guide.measures import layout
from reproductions.autoencoder_guide.models import likelihood
from reproductions.claim import Claim, Evidence, Scale
from reproductions.examination import _judged
from reproductions.laplace_cauchy_slides import additive, divergence, models, sparse
from reproductions.vq_notebook import real_size


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_label_information_of_a_perfect_a_useless_and_a_half_useful_code():
    labels = torch.arange(4000) % 4
    perfect = labels[:, None] + 0.01 * random(4000, 1)
    useless = random(4000, 1, seed=1)
    assert models.label_information(perfect, labels) == pytest.approx(2.0, abs=0.02)
    assert models.label_information(useless, labels) == pytest.approx(0.0, abs=0.01)
    both = torch.cat([perfect, useless], 1)
    assert models.label_information(both, labels) == pytest.approx(1.0, abs=0.02)
    # Of a code that tells two pairs apart one bit is left; no monotone change of scale matters.
    half = (labels // 2)[:, None] + 0.01 * random(4000, 1, seed=2)
    assert models.label_information(half.sinh() ** 3, labels) == pytest.approx(1.0, abs=0.02)


def test_layout_knows_circles_from_needles_and_a_normal_cloud_from_a_ring():
    cloud, labels = random(4000, 2), torch.arange(4000) % 5
    needle = cloud * torch.tensor([1.0, 0.1])
    angle = 2 * math.pi * torch.rand(4000, generator=torch.Generator().manual_seed(3))
    ring = torch.stack([angle.cos(), angle.sin()], 1)
    assert layout(cloud, labels)["roundness"] > 0.9
    assert layout(needle, labels)["roundness"] < 0.15
    assert layout(cloud, labels)["abnormality"] < 0.03
    assert layout(needle, labels)["abnormality"] < 0.03, "an ellipse is normal, too"
    assert layout(ring, labels)["abnormality"] > 0.3


def test_the_likelihood_makes_the_loss_mean_squared_error_plus_weight_times_divergence():
    data = nw.data.load("digits")
    weight = 0.01
    torch.manual_seed(0)
    model = nw.Autoencoder(
        data.shape,
        nw.bottlenecks.Variational(3),
        network=nw.networks.Mlp((16,)),
        likelihood=likelihood(data, weight),
    )
    x = data.train.batch(torch.arange(32))
    gradients_ = []
    for ours in (True, False):
        torch.manual_seed(1)
        latent, output = model(x)
        mean = model.likelihood.mean(output)
        kl = kl_divergence(latent.posterior, Gaussian(0.0, 1.0)).sum(1)
        document = (mean - x).square().mean() + weight * kl.mean()
        nll = -model.likelihood.log_prob(x, output)
        loss = (nll + kl).mean() if ours else document
        gradients_.append(torch.autograd.grad(loss, list(model.encoder.parameters())))
    factor = data.dimensions / (data.dimensions * weight)
    for one, two in zip(*gradients_, strict=True):
        torch.testing.assert_close(one, factor * two, rtol=1e-3, atol=1e-4)


def test_denoising_scores_a_clean_image_by_the_code_of_a_noisy_one():
    torch.manual_seed(0)
    model = nw.Autoencoder.for_vectors(
        4,
        nw.bottlenecks.Identity(4),
        network=nw.networks.Mlp(()),
        likelihood=nw.likelihoods.Normal(1.0),
    )
    with torch.no_grad():
        for part in (model.encoder, model.decoder):
            weight, bias = part.parameters()
            weight.copy_(torch.eye(4))
            bias.zero_()
    x = torch.full((2000, 4), 0.5)
    model.objective = Denoising(0.1)
    loss = model.train().loss(x).total.detach()
    # An identity passes the noise on: |x - y|^2 / 2 has the mean 4 * 0.1^2 / 2.
    constant = 2 * math.log(2 * math.pi)
    assert float(loss) - constant == pytest.approx(0.02, rel=0.1)
    model.objective = Denoising(0.0)
    assert float(model.loss(x).total.detach()) == pytest.approx(constant)


def test_gradient_estimates_agree_with_the_closed_form_of_a_linear_decoder():
    torch.manual_seed(0)
    model = nw.Autoencoder.for_vectors(
        3,
        nw.bottlenecks.Variational(2),
        network=nw.networks.Mlp(()),
        likelihood=nw.likelihoods.Normal(1.0),
    ).eval()
    x = random(1, 3)
    path, score, better = gradients.estimates(model, x, 40_000)
    weight = next(p for p in model.decoder.parameters() if p.dim() == 2).detach().double()
    posterior = model.latent(x).posterior
    mean, scale = posterior.loc.double()[0].detach(), posterior.scale.double()[0].detach()
    bias = model.decoder(torch.zeros(1, 2)).detach().double()[0]
    gap = x[0].double() - weight @ mean - bias
    expected = torch.cat([weight.T @ gap, -(weight.square().sum(0)) * scale.square()])
    for found in (path, score, better):
        error = (found.var(0) / len(found)).sqrt() * 5
        # Leave-one-out draws share signals, which widens their error a little.
        assert ((found.mean(0) - expected).abs() < 2 * error).all()
    assert path.var(0).sum() < better.var(0).sum() < score.var(0).sum()


def evidence(**rows):
    """Rows by kind: figures with one value per seed, weight after a slash."""
    outcomes = []
    for name, figures in rows.items():
        kind, _, weight = name.partition("_")
        for seed in range(3):
            arguments = {"kind": kind, "weight": float(weight or quantised.WEIGHT), "seed": seed}
            result = {k: v[seed] for k, v in figures.items()}
            outcomes.append(Outcome(Call(linear.linear, arguments), Path(), result))
    return Evidence(outcomes)


def test_sharpness_at_equal_bits_is_read_off_the_vaes_own_line():
    found = evidence(
        **{
            "vq": {"bits": [100.0] * 3, "laplacian_ratio": [0.8, 0.8, 0.8]},
            "vae_0.001": {"bits": [10.0] * 3, "laplacian_ratio": [0.2, 0.2, 0.2]},
            "vae_0.0001": {"bits": [1000.0] * 3, "laplacian_ratio": [0.6, 0.6, 0.6]},
            "vae_0.00001": {"bits": [9000.0] * 3, "laplacian_ratio": [0.9, 0.9, 0.9]},
        }
    )
    assert quantised.at_equal_bits(found).mean == pytest.approx(0.8 - 0.4)


def test_the_share_of_quantisation_terms_in_the_excess_loss():
    found = evidence(
        vq={"loss": [5.0] * 3, "mse": [2.0] * 3}, ae={"loss": [1.0] * 3, "mse": [1.0] * 3}
    )
    assert quantised.excess_share(found).mean == pytest.approx(3 / 4)


EXACT = {
    "laplace-divergence-unsolvable": (divergence.CLAIM, "contradicted"),
    "additive-family-needed": (additive.CLAIM, "contradicted"),
    **{
        claim.name: (claim, "contradicted" if "derived" in claim.name else "supported")
        for claim in derivations.CLAIMS
    },
}


@pytest.mark.parametrize(("claim", "verdict"), EXACT.values(), ids=EXACT)
def test_claims_of_mathematics_come_out_the_same_at_any_size(claim: Claim, verdict: str, tmp_path):
    trials = claim.trials(Scale("tiny"))
    outcomes = Local().run(trials, tmp_path)
    assert _judged(claim, Scale("tiny"), trials, outcomes).verdict == verdict


def test_at_equal_quartiles_the_cauchy_has_less_mass_near_zero_than_the_laplace(tmp_path):
    found = sparse.mass_near_zero(tmp_path, width=0.1)
    assert found == pytest.approx({"normal": 0.0797, "laplace": 0.0977, "cauchy": 0.0941}, abs=5e-4)


@pytest.mark.slow
def test_a_linear_autoencoder_reaches_the_error_of_pca(tmp_path):
    found = linear.linear(
        tmp_path, data="digits", train_examples=1257, test_examples=50, dim=2, epochs=100, seed=0
    )
    assert 1 - 1e-5 < found["ratio"] < 1.02
    assert found["smallest_cosine"] > 0.95
    assert np.shape(found["atoms"]) == (2, 1, 8, 8)


def test_codes_drawn_by_distance_are_the_nearest_at_temperature_zero_and_any_at_a_high_one():
    torch.manual_seed(0)
    model = nw.Autoencoder.for_images((1, 8, 8), nw.bottlenecks.VectorQuantizer(8, 4))
    y = torch.rand(40, 1, 8, 8)
    errors = convolutional.by_distance(model.eval(), y, seed=0)
    nearest = (model.reconstruct(y) - y).square().mean()
    assert errors[0] == pytest.approx(float(nearest), rel=1e-4)
    assert len(errors) == len(convolutional.TEMPERATURES)


def test_a_power_law_is_extrapolated_exactly_and_from_its_second_half():
    updates = np.arange(1, 21) * 16
    nmse = 3.0 * updates**-0.25
    nmse[:8] = 1.0
    assert real_size.foreseen(updates, nmse) == pytest.approx(3.0 * 200_000**-0.25)
