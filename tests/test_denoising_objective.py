"""Training to denoise: the clean example is what the decoder must give."""

import pytest
import torch

import narrows as nw
from narrows.functional.corruption import corrupt
from narrows.objectives import Denoising


def test_the_loss_is_the_bound_of_the_clean_example_under_the_code_of_the_noisy_one():
    x = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))
    bottleneck = nw.bottlenecks.Variational(2)
    model = nw.Autoencoder.for_vectors(4, bottleneck, beta=0.3, objective=Denoising(0.4))
    torch.manual_seed(1)
    loss = model.train().loss(x)
    torch.manual_seed(1)
    latent, output = model(corrupt(x, 0.4))
    nll = -model.likelihood.log_prob(x, output)
    torch.testing.assert_close(loss.nll, nll)
    torch.testing.assert_close(loss.total, (nll + 0.3 * model.prior.rate(latent)).mean())


def test_evaluation_codes_what_it_is_given():
    x = torch.rand(6, 4)
    plain = nw.Autoencoder.for_vectors(4, nw.bottlenecks.Identity(2)).eval()
    model = nw.Autoencoder.for_vectors(4, nw.bottlenecks.Identity(2), objective=Denoising())
    model.load_state_dict(plain.state_dict())
    torch.testing.assert_close(model.eval().loss(x).total, plain.loss(x).total)


def test_a_linear_model_learns_the_wiener_filter():
    spread, noise = 0.05, 0.1  # around 0.5, so that clipping takes nothing
    generator = torch.Generator().manual_seed(0)
    x = 0.5 + spread * torch.randn(4000, 1, generator=generator)
    model = nw.Autoencoder.for_vectors(
        1, nw.bottlenecks.Identity(1), network=nw.networks.Mlp(()), objective=Denoising(noise)
    ).train()
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    torch.manual_seed(0)
    for _ in range(600):
        optimizer.zero_grad()
        loss = model.loss(x)
        loss.total.backward()
        optimizer.step()
        model.update(x, loss)
    ends = model.reconstruct(torch.tensor([[0.4], [0.6]]))
    slope = float(ends[1] - ends[0]) / 0.2
    assert slope == pytest.approx(spread**2 / (spread**2 + noise**2), abs=0.03)


def test_negative_noise_is_refused():
    with pytest.raises(ValueError, match="weight must be at least 0, got -1"):
        Denoising(-1)
