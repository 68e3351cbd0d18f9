import math

import pytest
import torch
from scipy import stats

from narrows.bottlenecks import (
    NVIL,
    RLOO,
    Categorical,
    GumbelSoftmax,
    ScoreFunction,
    StraightThrough,
)
from narrows.recorded import build, spec

ESTIMATORS = [
    ScoreFunction(),
    RLOO(2),
    NVIL(3),
    GumbelSoftmax(),
    GumbelSoftmax(hard=True),
    StraightThrough(),
]
IDS = ["score", "rloo", "nvil", "gumbel", "gumbel-hard", "straight-through"]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=IDS)
def test_training_draws_follow_the_probabilities(estimator):
    torch.manual_seed(0)
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0])
    latent = Categorical(4, 1, estimator=estimator).train()(logits.expand(20_000, 4))
    code = latent.code.argmax(-1) if latent.code.is_floating_point() else latent.code
    counts = torch.bincount(code.flatten(), minlength=4)
    expected = 20_000 * logits.softmax(0).double()
    assert (
        stats.chisquare(counts.numpy(), (expected / expected.sum() * 20_000).numpy()).pvalue > 0.01
    )


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=IDS)
def test_eval_takes_the_most_probable_value_as_a_hard_vector(estimator):
    bottleneck = Categorical(5, 3, estimator=estimator).eval()
    features = torch.randn(4, 2, 15)
    latent = bottleneck(features)
    expected = features.unflatten(-1, (3, 5)).argmax(-1)
    assert torch.equal(latent.code, expected)
    assert set(latent.z.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(latent.z.unflatten(-1, (3, 5)).argmax(-1), expected)


def test_the_rate_is_log_k_less_the_entropy_summed_over_sites_and_variables():
    bottleneck = Categorical(4, 2).double().eval()
    features = torch.randn(3, 5, 8, dtype=torch.float64)
    prior = bottleneck.default_prior((5,))
    p = features.unflatten(-1, (2, 4)).softmax(-1)
    expected = (p * (p * 4).log()).sum((1, 2, 3))
    assert torch.allclose(prior.rate(bottleneck(features)), expected)


def test_a_certain_code_costs_log_k_a_variable():
    bottleneck = Categorical(4, 2).eval()
    latent = bottleneck(1000 * torch.eye(4).repeat(1, 2))
    rate = bottleneck.default_prior(()).rate(latent)
    assert torch.allclose(rate, torch.full((4,), 2 * math.log(4)))


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=IDS)
def test_features_ten_thousand_times_too_large_keep_everything_finite(estimator, autocast):
    bottleneck = Categorical(6, 2, estimator=estimator).train()
    features = (1e4 * torch.randn(16, 12)).to(torch.bfloat16 if autocast else torch.float32)
    features.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        latent = bottleneck(features)
        loss = bottleneck.default_prior(()).rate(latent).sum() + latent.z.square().sum()
        if latent.log_q is not None:
            loss = loss + bottleneck.surrogate(torch.randn(16), latent).sum()
    assert loss.isfinite()
    loss.backward()
    assert features.grad.isfinite().all()


def test_the_temperature_falls_with_the_optimiser_s_steps_and_is_saved():
    bottleneck = Categorical(
        3, 1, estimator=GumbelSoftmax(start=1.0, smallest=0.5, decay=0.1)
    ).train()
    for step in range(20):
        expected = max(0.5, math.exp(-0.1 * step))
        assert float(bottleneck.estimator.temperature) == pytest.approx(expected)
        bottleneck.update([])
    twin = build(spec(bottleneck))
    twin.load_state_dict(bottleneck.state_dict())
    assert float(twin.estimator.temperature) == 0.5


def test_a_shared_estimator_is_not_shared_between_bottlenecks():
    estimator = GumbelSoftmax(decay=0.1)
    one, two = Categorical(3, 1, estimator=estimator), Categorical(3, 1, estimator=estimator)
    one.update([])
    assert float(two.estimator.temperature) == 1.0


def test_a_perfect_code_informs_and_a_useless_one_is_noticed():
    bottleneck = Categorical(8).eval()
    perfect = 50 * torch.eye(8).repeat(10, 1)
    summary = bottleneck.summary(bottleneck(perfect).stats, 80)
    assert summary["perplexity"] == pytest.approx(8)
    assert summary["information_bits"] == pytest.approx(3)
    assert bottleneck.advice(summary) == []
    useless = bottleneck.summary(bottleneck(torch.zeros(80, 8)).stats, 80)
    assert useless["information_bits"] == pytest.approx(0, abs=1e-6)
    assert "posterior collapse" in bottleneck.advice(useless)[0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Categorical(1),
        lambda: RLOO(1),
        lambda: GumbelSoftmax(0.3, 0.5),
        lambda: GumbelSoftmax(decay=-1.0),
        lambda: NVIL(0),
    ],
)
def test_meaningless_arguments_are_refused(make):
    with pytest.raises(ValueError, match=r"at least|expected|2 or more"):
        make()


def test_numbers_that_are_no_relaxed_one_hots_are_refused():
    bottleneck = Categorical(8, 2)
    hot = torch.full((3, 5, 2, 8), 1 / 8)
    assert bottleneck.embed(hot).shape == (3, 5, 16)
    for wrong in (hot[..., :7], hot.flatten(-2), torch.full((3, 5, 2), 0.5)):
        with pytest.raises(ValueError, match=r"0\.\.7"):
            bottleneck.embed(wrong)
