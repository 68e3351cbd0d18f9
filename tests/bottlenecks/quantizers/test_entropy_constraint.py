import math

import pytest
import torch

import narrows as nw
from narrows.bottlenecks import CodebookLearning, ResidualQuantizer, VectorQuantizer
from narrows.priors import MovingHistogram
from narrows.testing import check_bottleneck


def quantizer(strength, size=8, dim=2, **learning):
    return VectorQuantizer(
        size, dim, learning=CodebookLearning(entropy_constraint=strength, **learning)
    )


def follow(bottleneck, steps=60, n=2000):
    generator = torch.Generator().manual_seed(0)
    bottleneck.train()
    for _ in range(steps):
        x = torch.randn(n, bottleneck.in_features, generator=generator) + 300
        bottleneck.update([bottleneck(x)])
    return bottleneck.eval()


def entropy_bits(bottleneck):
    x = torch.randn(20_000, bottleneck.in_features, generator=torch.Generator().manual_seed(1))
    latent = bottleneck(x + 300)
    distortion = (latent.z - x - 300).square().sum(1).mean().item()
    return bottleneck.summary(latent.stats, len(x))["entropy_bits"], distortion


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_contract_holds(metric):
    learning = CodebookLearning(entropy_constraint=0.01)
    check_bottleneck(VectorQuantizer(8, 4, learning=learning, metric=metric), export=False)


def test_the_contract_holds_for_residual_stages():
    check_bottleneck(ResidualQuantizer(quantizer(0.01, dim=4), 2), export=False)


def test_the_choice_minimises_distance_and_bits_together():
    bottleneck = follow(quantizer(0.5)).double()
    x = torch.randn(500, 2).double() + 300
    constraint = bottleneck.constraint
    p = (constraint.counts + 1) / (constraint.counts.sum() + 8)
    distance = torch.cdist(x, bottleneck.codebook.codes).square()
    cost = distance - constraint.strength * constraint.variance * p.log()
    assert torch.equal(bottleneck(x).code, cost.argmin(1))


def test_lambda_is_in_units_of_the_features_variance():
    bottleneck = follow(quantizer(0.5))
    assert float(bottleneck.constraint.variance) == pytest.approx(1.0, rel=0.02)


def test_a_larger_lambda_spends_fewer_bits_at_more_distortion():
    figures = [
        entropy_bits(follow(quantizer(strength, size=32, init="kmeans", revive_after=None)))
        for strength in (0.001, 0.1, 0.5)
    ]
    bits, distortions = zip(*figures, strict=True)
    assert bits[0] > bits[1] > bits[2]
    assert distortions[0] < distortions[1] < distortions[2]


def test_many_codes_under_the_constraint_beat_few_without_at_the_same_bits():
    # Entropy-coded, constrained quantisers approach the rate-distortion function; equally used
    # codes do not (Chou et al. 1989, figure 3).
    plain = VectorQuantizer(8, 2, learning=CodebookLearning(init="kmeans"))
    bits, distortion = entropy_bits(follow(plain))
    constrained = follow(quantizer(0.45, size=64, init="kmeans", revive_after=None), steps=300)
    fewer, lower = entropy_bits(constrained)
    assert fewer < bits
    assert lower < distortion


def test_before_codes_are_counted_the_choice_is_the_nearest():
    bottleneck, plain = quantizer(10.0), VectorQuantizer(8, 2)
    plain.codebook.vectors.copy_(bottleneck.codebook.vectors)
    x = torch.randn(50, 2)
    assert torch.equal(bottleneck(x).code, plain(x).code)


def test_its_prior_follows_training_and_prices_the_indices():
    model = nw.Autoencoder.for_vectors(4, quantizer(0.1))
    assert isinstance(model.prior, MovingHistogram)
    x = torch.rand(64, 4)
    for _ in range(3):
        model.update(x, model.loss(x))
    assert model.prior.counts.sum().item() == pytest.approx(64 * (1 + 0.98 + 0.98**2))
    assert (model.bits(x) < math.log2(8)).any()


def test_lambda_is_saved_with_the_weights():
    bottleneck = quantizer(0.1)
    bottleneck.set_rate_weight(0.25)
    again = quantizer(0.1)
    again.load_state_dict(bottleneck.state_dict())
    assert again.rate_weight == 0.25
    assert bottleneck.rate_argument.name == "bottleneck.learning.entropy_constraint"


@pytest.mark.parametrize("strength", [0.0, -1.0, math.inf, math.nan])
def test_a_lambda_that_is_not_positive_and_finite_is_refused(strength):
    with pytest.raises(ValueError, match="entropy_constraint"):
        CodebookLearning(entropy_constraint=strength)
