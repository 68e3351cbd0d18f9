import pytest
import torch

from narrows.bottlenecks import SoftmaxDictionary
from narrows.testing import check_bottleneck


def _features(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _read_off(z, features):
    """Share of the features' variance that a linear decoder gets out of z."""
    z = torch.cat([z, torch.ones(len(z), 1)], dim=1)
    guess = z @ torch.linalg.lstsq(z, features).solution
    return 1 - (features - guess).square().sum() / (features - features.mean(0)).square().sum()


def test_it_keeps_the_contract():
    torch.manual_seed(1)
    check_bottleneck(SoftmaxDictionary(size=30, dim=6, k=4))


def test_z_is_the_mean_of_the_nearest_atoms_weighted_by_the_softmax():
    torch.manual_seed(0)
    bottleneck = SoftmaxDictionary(size=10, dim=4, k=3)
    features = _features(5, 4)
    latent = bottleneck(features)
    for x, z in zip(features, latent.z, strict=True):
        nearest = (bottleneck.dictionary - x).norm(dim=1).argsort()[:3]
        weights = bottleneck.logits(x)[nearest].softmax(0)
        torch.testing.assert_close(z, weights @ bottleneck.dictionary[nearest])
    torch.testing.assert_close(latent.code[1].sum(-1), torch.ones(5))


def test_one_atom_is_vector_quantisation():
    torch.manual_seed(0)
    bottleneck = SoftmaxDictionary(size=10, dim=4, k=1)
    features = _features(50, 4)
    nearest = torch.cdist(features, bottleneck.dictionary).argmin(1)
    assert torch.equal(bottleneck(features).code[0][:, 0], nearest)
    assert torch.equal(bottleneck(features).z, bottleneck.dictionary[nearest])


def test_noise_cannot_be_decoded_from_it_as_it_could_in_the_original():
    """With equal atoms the code says nothing; whatever z then tells of x has leaked past it."""
    torch.manual_seed(0)
    bottleneck = SoftmaxDictionary(size=10, dim=4, k=3)
    with torch.no_grad():
        bottleneck.dictionary[:] = bottleneck.dictionary[0]
    noise = _features(500, 4)
    ours = bottleneck.eval()(noise).z.detach()
    # As written: reconstruction + (reconstruction - x).detach() = 2 reconstruction - x.
    original = ours + (ours - noise)
    assert _read_off(original, noise) > 0.999
    assert _read_off(ours, noise) < 0.01


def test_the_original_softmax_has_a_constant_l1_so_penalising_it_changes_nothing():
    representation = torch.randn(7, 10, requires_grad=True)
    penalty = representation.softmax(-1).abs().sum()
    (gradient,) = torch.autograd.grad(penalty, representation)
    assert penalty.item() == pytest.approx(7)
    assert gradient.abs().max() < 1e-6


def test_its_prior_prices_the_quantised_weights():
    torch.manual_seed(0)
    bottleneck = SoftmaxDictionary(size=10, dim=4, k=3)
    latent = bottleneck.eval()(_features(5, 2, 4))
    prior = bottleneck.default_prior((2,)).fit([latent])
    code = prior.quantize(latent.code)
    rate = prior.rate(type(latent)(z=latent.z, code=code, features=latent.features))
    assert (rate > 0).all()
    assert (bottleneck.embed(code) - latent.z).abs().max() < 0.5


def test_summary_counts_atoms():
    torch.manual_seed(0)
    bottleneck = SoftmaxDictionary(size=200, dim=4, k=2).eval()
    summary = bottleneck.summary(bottleneck(_features(5, 4)).stats, 5)
    assert summary["l0"] == 2
    assert summary["dead_atoms"] >= 190
    assert bottleneck.advice(summary) != []


@pytest.mark.parametrize("wrong", [dict(k=11), dict(k=0), dict(commitment=-1.0)])
def test_impossible_dictionaries_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        SoftmaxDictionary(**{"size": 10, "dim": 4, "k": 2, **wrong})
