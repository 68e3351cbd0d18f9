"""Learned priors over sparse codes are distributions, and know what is used together."""

import itertools

import pytest
import torch
from scipy import stats

from narrows.codes import Atoms
from narrows.functional.conditionals import follow
from narrows.latent import Latent
from narrows.priors.sparse.autoregressive import SparseAutoregressive
from narrows.priors.sparse.factorial import SparseFactorial
from narrows.priors.sparse.mixture import SparseMixture
from narrows.recorded import build, spec
from narrows.sparse.solution import canonical


def latent(atoms, values):
    return Latent(z=values, code=Atoms(atoms, values), features=values)


def every_code(size, width, levels, step):
    """All sparse codes of one site with at most `width` atoms, `[codes, 1, width]`."""
    rows = itertools.product(range(-levels, levels + 1), repeat=size)
    dense = torch.tensor([row for row in rows if sum(q != 0 for q in row) <= width]) * step
    atoms = torch.arange(size).expand(dense.shape)
    atoms, values = canonical(atoms, dense)
    return atoms[:, None, :width].contiguous(), values[:, None, :width].contiguous()


def autoregressive(seed=0, **kwargs):
    torch.manual_seed(seed)
    arguments = {"sites": (1,), "size": 4, "k": 2, "step": 0.5, "levels": 1}
    prior = SparseAutoregressive(**arguments | {"hidden": 16, "depth": 1} | kwargs)
    for weight in prior.parameters():
        weight.data.add_(0.3 * torch.randn_like(weight))
    return prior


def mixture(**kwargs):
    prior = SparseMixture(**{"sites": (1,), "size": 4, "levels": 1, "components": 3} | kwargs)
    generator = torch.Generator().manual_seed(0)
    # Far apart, so that absent atoms say as much about the component as present ones.
    rows = [[0.9, 0.8, 0.1, 0.1], [0.1, 0.1, 0.9, 0.7], [0.5, 0.1, 0.6, 0.1]]
    prior.activation.copy_(torch.tensor(rows))
    prior.weights.copy_(torch.tensor([0.5, 0.3, 0.2]))
    prior.value_logits.copy_(torch.randn(prior.value_logits.shape, generator=generator))
    return prior


def planted(n=2000, seed=0):
    """Codes whose atoms come in two groups that never mix; `[n, 3, 2]`."""
    generator = torch.Generator().manual_seed(seed)
    group = torch.randint(2, (n, 3, 1), generator=generator)
    atoms = 4 * group + torch.rand(n, 3, 4, generator=generator).topk(2).indices
    values = torch.where(atoms % 2 == 0, 1.0, -0.5)
    return latent(*canonical(atoms, values))


@pytest.mark.parametrize(("prior", "width"), [(autoregressive(), 2), (mixture(), 4)])
def test_probabilities_of_all_codes_sum_to_one(prior, width):
    rate = prior.rate(latent(*every_code(4, width, 1, 0.5)))
    assert torch.exp(-rate.double()).sum().item() == pytest.approx(1.0, abs=1e-5)
    assert rate.std() > 0.1


@pytest.mark.parametrize(("prior", "width"), [(autoregressive(), 2), (mixture(), 4)])
def test_samples_follow_the_enumerated_distribution(prior, width):
    atoms, values = every_code(4, width, 1, 0.5)
    p = torch.exp(-prior.rate(latent(atoms, values))).detach().double().numpy()

    def number(code):
        dense = torch.zeros(code[0].shape[0], 4).scatter_add_(1, code[0][:, 0], code[1][:, 0] * 2)
        return ((dense + 1).long() * torch.tensor([27, 9, 3, 1])).sum(1)

    counts = torch.bincount(
        number(prior.sample(20000, torch.Generator().manual_seed(0))), minlength=81
    )[number((atoms, values))].numpy()
    assert counts.sum() == 20000  # nothing outside the enumeration
    expected = p / p.sum() * 20000
    rare = expected < 5
    cells = [[*x[~rare], x[rare].sum()] if rare.any() else x for x in (counts, expected)]
    assert stats.chisquare(*cells).pvalue > 1e-3


@pytest.mark.parametrize("prior", [autoregressive(sites=(2,)), mixture(sites=(2,))])
def test_a_known_walk_meets_the_same_weights_as_a_fresh_one(prior):
    code = prior.sample(30, torch.Generator().manual_seed(0))
    symbols, known, fresh = [], [], []

    def note(step):
        known.append(step.weights)
        symbols.append(step.known)
        return step.known

    def replay(step):
        fresh.append(step.weights)
        return symbols[len(fresh) - 1]

    again = follow(prior.conditionals(30, code), note)
    decoded = follow(prior.conditionals(30), replay)
    assert len(known) == len(fresh)
    assert all(map(torch.equal, known, fresh))
    for result in (again, decoded):
        assert torch.equal(result[0], code[0])
        assert torch.equal(result[1], code[1])


@pytest.mark.parametrize("prior", [autoregressive(sites=(2,)), mixture(sites=(2,))])
def test_a_walk_costs_what_the_rate_says(prior):
    code = prior.sample(200, torch.Generator().manual_seed(0))
    nats = []

    def spend(step):
        logits = step.weights.double().log()
        nats.append(torch.nn.functional.cross_entropy(logits, step.known, reduction="sum"))
        return step.known

    follow(prior.conditionals(200, code), spend)
    assert sum(nats).item() == pytest.approx(prior.rate(latent(*code)).sum().item(), rel=2e-3)


def test_the_support_mixture_beats_the_factorial_support_where_atoms_go_together():
    train, test = planted(seed=0), planted(seed=1)
    floor = SparseFactorial((3,), 8, step=0.5).fit([train]).rate(test).mean()
    learned = SparseMixture((3,), 8, step=0.5, components=4).fit([train]).rate(test).mean()
    # A factorial support pays 8 H(1/4) a site; the truth is log 2 + log C(4, 2), then no value.
    truth = 3 * torch.tensor(12.0).log()
    assert floor > 3 * 8 * 0.56
    assert learned < 0.85 * floor
    assert learned > truth


def test_one_component_and_many_agree_with_the_factorial_prior_on_independent_atoms():
    generator = torch.Generator().manual_seed(0)
    dense = (torch.rand(5000, 1, 6, generator=generator) < 0.3) * 0.5
    code = latent(*canonical(torch.arange(6).expand(dense.shape), dense))
    one = SparseMixture((1,), 6, step=0.5, components=1, levels=1).fit([code]).rate(code).mean()
    entropy = 6 * -(0.3 * torch.tensor(0.3).log() + 0.7 * torch.tensor(0.7).log())
    assert one.item() == pytest.approx(entropy.item(), rel=0.01)


def test_expectation_maximisation_never_lowers_the_likelihood():
    train = planted()
    rates = [
        SparseMixture((3,), 8, step=0.5, components=4, iterations=i).fit([train]).rate(train).mean()
        for i in (1, 2, 4, 8, 16, 32)
    ]
    assert all(b <= a + 1e-2 for a, b in itertools.pairwise(rates))
    assert rates[-1] < rates[0] - 0.1


def test_quantising_clamps_rounds_and_keeps_the_largest():
    prior = autoregressive(size=8, k=2, levels=3)
    atoms = torch.tensor([[[1, 3, 5]]])
    values = torch.tensor([[[0.6, -9.0, 0.8]]])
    kept, quantised = prior.quantize(Atoms(atoms, values))
    assert kept.tolist() == [[[3, 5]]]
    assert quantised.tolist() == [[[-1.5, 1.0]]]


def test_value_symbols_are_a_bijection():
    prior, q = mixture(levels=3), torch.tensor([-3, -2, -1, 1, 2, 3])
    assert prior.to_symbols(q).tolist() == list(range(6))
    assert torch.equal(prior.from_symbols(prior.to_symbols(q)), q)


@pytest.mark.parametrize("prior", [autoregressive(), mixture()])
def test_priors_round_trip_and_refuse_what_does_not_fit(prior):
    again = build(spec(prior))
    again.load_state_dict(prior.state_dict())
    atoms, values = every_code(4, 2, 1, 0.5)
    assert torch.equal(again.rate(latent(atoms, values)), prior.rate(latent(atoms, values)))
    with pytest.raises(ValueError, match=r"prior.quantize\(code\)"):
        prior.rate(latent(atoms, values * 0.7))
    with pytest.raises(ValueError, match=r"shape \[batch, 1, width\]"):
        prior.rate(latent(atoms[:, 0], values[:, 0]))
    with pytest.raises(ValueError, match=r"\(atoms, values\)"):
        prior.rate(Latent(z=values, code=values, features=values))


def test_too_many_atoms_are_refused():
    prior = autoregressive(k=1)
    with pytest.raises(ValueError, match="at most 1 atoms"):
        prior.rate(latent(torch.tensor([[[0, 1]]]), torch.tensor([[[0.5, 0.5]]])))
