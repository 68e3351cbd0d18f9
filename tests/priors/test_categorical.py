import math

import pytest
import torch
from scipy import stats

from narrows.latent import Latent
from narrows.priors import CategoricalPrior
from narrows.recorded import build, spec


def _latent(code):
    z = torch.zeros(*code.shape, 1)
    return Latent(z, code, z)


def test_before_fitting_an_index_costs_log_k_nats():
    prior = CategoricalPrior((8, 8), 512)
    rate = prior.rate(_latent(torch.randint(512, (3, 8, 8))))
    assert torch.allclose(rate / math.log(2), torch.full((3,), 576.0))


def test_fitted_it_is_the_krichevsky_trofimov_estimate():
    code = torch.tensor([[0, 0, 0, 1], [2, 0, 0, 1]])
    prior = CategoricalPrior((4,), 4).fit([_latent(code[:1]), _latent(code[1:])])
    expected = torch.tensor([5.5, 2.5, 1.5, 0.5], dtype=torch.float64) / 10
    assert torch.allclose(prior.log_probs.exp()[0], expected)
    assert prior.rate(_latent(code))[0].item() == pytest.approx(
        -(3 * math.log(0.55) + math.log(0.25)), rel=1e-6
    )


def test_fitting_lowers_the_rate_to_the_entropy():
    torch.manual_seed(0)
    p = torch.tensor([0.7, 0.2, 0.05, 0.05])
    code = torch.multinomial(p, 40000, replacement=True).reshape(-1, 4)
    prior = CategoricalPrior((4,), 4).fit([_latent(code)])
    entropy = -(p * p.log()).sum().item()
    assert prior.rate(_latent(code)).mean().item() / 4 == pytest.approx(entropy, rel=0.01)


def test_fitting_again_forgets_the_first_fit():
    prior = CategoricalPrior((), 3).fit([_latent(torch.zeros(50, dtype=torch.int64))])
    prior.fit([_latent(torch.ones(10, dtype=torch.int64))])
    assert prior.counts.tolist() == [[0.0, 10.0, 0.0]]


def test_samples_follow_the_histogram():
    code = torch.tensor([0] * 50 + [1] * 30 + [3] * 20)
    prior = CategoricalPrior((), 4).fit([_latent(code)])
    drawn = prior.sample(4000, torch.Generator().manual_seed(0))
    observed = torch.bincount(drawn, minlength=4).numpy()
    expected = 4000 * prior.log_probs.exp()[0].numpy()
    assert stats.chisquare(observed, expected).pvalue > 0.01


def test_groups_have_histograms_of_their_own():
    code = torch.stack([torch.zeros(40), torch.arange(40) % 4], -1).long()[:, None]
    prior = CategoricalPrior((1,), 4, channels=2).fit([_latent(code)])
    probs = prior.log_probs.exp()
    assert probs[0, 0] > 0.9
    assert torch.allclose(probs[1], torch.full((4,), 0.25, dtype=torch.float64))
    drawn = prior.sample(100, torch.Generator().manual_seed(0))
    assert drawn.shape == (100, 1, 2)
    assert (drawn[..., 0] == 0).double().mean() > 0.85
    assert set(drawn[..., 1].flatten().tolist()) == {0, 1, 2, 3}
    expected = -(probs[0, 0].log() + probs[1, 0].log()).float()
    assert torch.allclose(prior.rate(_latent(code))[0], expected)


def test_it_round_trips_through_its_spec_and_state():
    prior = CategoricalPrior((2,), 4).fit([_latent(torch.tensor([[1, 2]]))])
    twin = build(spec(prior))
    twin.load_state_dict(prior.state_dict())
    assert torch.equal(twin.log_probs, prior.log_probs)


def test_codes_that_do_not_fit_are_refused():
    prior = CategoricalPrior((2,), 4)
    with pytest.raises(ValueError, match="integer indices"):
        prior.rate(_latent(torch.zeros(1, 2)))
    with pytest.raises(ValueError, match=r"default_prior\(sites\)"):
        prior.rate(_latent(torch.zeros(1, 3, dtype=torch.int64)))
    with pytest.raises(ValueError, match=r"indices in 0..3"):
        prior.rate(_latent(torch.full((1, 2), 4)))
    with pytest.raises(ValueError, match="at least 1"):
        CategoricalPrior((), 0)


def test_an_index_that_was_not_sent_costs_nothing_and_is_not_counted():
    prior = CategoricalPrior((), 4, channels=3)
    code = torch.tensor([[1, 2, 3], [1, -1, -1]])
    assert torch.allclose(prior.rate(_latent(code)), torch.tensor([3.0, 1.0]) * math.log(4))
    assert prior.fit([_latent(code)]).counts.sum(1).tolist() == [2.0, 1.0, 1.0]
    with pytest.raises(ValueError, match=r"indices in 0..3"):
        CategoricalPrior((3,), 4).rate(_latent(code))
