import pytest
import torch

import narrows as nw
from narrows.bottlenecks import RLOO, Categorical, Identity, Split, Variational
from narrows.metrics.likelihood import importance_estimate


def digit_and_style(draws=2):
    return Split([Categorical(10, 1, estimator=RLOO(draws)), Variational(4)])


def test_parts_get_their_own_slice_and_add_their_rates():
    split = digit_and_style().eval()
    features = torch.randn(6, 3, 18)
    latent = split(features)
    one, two = (part.eval() for part in split.parts)
    first, second = one(features[..., :10]), two(features[..., 10:])
    assert torch.equal(latent.code[0], first.code)
    assert torch.equal(latent.code[1], second.code)
    assert torch.equal(latent.z, torch.cat([first.z, second.z], -1))
    rate = split.default_prior((3,)).rate(latent)
    expected = one.default_prior((3,)).rate(first) + two.default_prior((3,)).rate(second)
    assert torch.allclose(rate, expected)


def test_log_q_is_the_sum_over_the_parts_that_need_a_score():
    split = Split([Categorical(3), Variational(2), Categorical(4)]).train()
    latent = split(torch.randn(6, 3 + 4 + 4))
    first, _, last = latent.parts
    expected = [p.posterior.log_prob(p.code).sum(1) for p in (first, last)]
    assert torch.allclose(latent.log_q, expected[0] + expected[1])


def test_prior_samples_embed_with_one_discrete_coordinate():
    split = digit_and_style()
    z = split.embed(split.default_prior(()).sample(7))
    assert z.shape == (7, 14)
    assert torch.equal(z[:, :10].sum(1), torch.ones(7))
    assert set(z[:, :10].unique().tolist()) == {0.0, 1.0}


def test_a_discrete_and_continuous_model_learns_both_parts():
    torch.manual_seed(0)
    centers = 4 * torch.eye(4)
    labels = torch.arange(400) % 4
    x = centers[labels] + 0.5 * torch.randn(400, 1) * torch.ones(4)
    x = x + 0.05 * torch.randn(400, 4)
    model = nw.Autoencoder.for_vectors(
        4,
        Split([Categorical(4), Variational(1)]),
        network=nw.networks.Mlp((32,)),
        likelihood=nw.likelihoods.Normal(0.3),
    )
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    model.train()
    first = None
    for _ in range(400):
        loss = model.loss(x)
        first = first if first is not None else float(loss.total.detach())
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        model.bottleneck.update([loss.latent])
    latent = model.eval().latent(x)
    assert float(loss.total.detach()) < first - 5
    summary = model.bottleneck.summary(latent.stats, 400)
    assert summary["0.information_bits"] > 0.9
    assert summary["1.active_units"] == 1


def test_importance_weights_work_for_a_joint_code():
    torch.manual_seed(0)
    model = nw.Autoencoder.for_vectors(
        5, digit_and_style(), network=nw.networks.Mlp(()), likelihood=nw.likelihoods.Normal(1.0)
    )
    x = torch.randn(200, 5)
    one, many = (importance_estimate(model, x, draws=draws) for draws in (1, 50))
    assert many.mean < one.mean
    assert many.effective_sample_size.max() <= 50


def test_a_part_without_a_rate_leaves_the_whole_without_one():
    latent = Split([Identity(2), Variational(2)])(torch.randn(3, 6))
    assert not latent.has_rate


def test_parts_that_want_different_numbers_of_draws_are_refused():
    with pytest.raises(ValueError, match="different numbers of draws"):
        Split([Categorical(3, 1, estimator=RLOO(2)), Categorical(3, 1, estimator=RLOO(4))])
    with pytest.raises(ValueError, match="two or more"):
        Split([Identity(2)])


def test_a_code_of_another_number_of_tensors_is_refused():
    with pytest.raises(ValueError, match="tuple of 2 codes"):
        digit_and_style().embed(torch.zeros(3, 1, dtype=torch.long))


def test_a_split_model_survives_saving(tmp_path):
    model = nw.Autoencoder.for_vectors(5, digit_and_style())
    x = torch.rand(4, 5)
    expected = model.eval().reconstruct(x)
    twin = nw.Autoencoder.load(model.save(tmp_path / "model"))
    assert torch.equal(twin.reconstruct(x), expected)
    assert torch.equal(twin.bits(x), model.bits(x))
