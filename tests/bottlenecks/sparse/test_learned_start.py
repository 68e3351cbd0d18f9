"""A learned start changes how soon a lasso is solved, and nothing else."""

import copy
import itertools

import pytest
import torch

import narrows as nw
from narrows import kernels
from narrows.bottlenecks import Lasso, LearnedStart, SparseDictionary
from narrows.recorded import build, spec
from narrows.sparse.coordinate_descent import descend
from narrows.sparse.penalty import L1

MIXING = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(5))).Q


def _features(n, seed=0):
    """Signals of a few strong directions: atoms drawn from them resemble each other."""
    white = torch.randn(n, 12, generator=torch.Generator().manual_seed(seed)).double()
    return white * torch.logspace(0, -1, 12).double() @ MIXING.double()


def _bottleneck(code, steps=0):
    """In double precision, after so many training steps of everything."""
    torch.manual_seed(0)
    bottleneck = SparseDictionary(40, 12, code).double()
    optimiser = torch.optim.Adam(bottleneck.parameters(), lr=1e-2)
    for step in range(steps):
        latent = bottleneck(_features(400, seed=step))
        loss = sum(bottleneck.weights[name] * term.mean() for name, term in latent.terms.items())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        bottleneck.update([latent])
    return bottleneck


def _without(bottleneck):
    """The same, but for its start."""
    cold = copy.deepcopy(bottleneck)
    cold.starter = None
    return cold


@pytest.fixture(params=["compiled", "torch"])
def path(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setenv("NARROWS_KERNELS", "off")
    elif kernels.load("sparse") is None:
        pytest.skip(f"no compiled kernel: {kernels.status('sparse')}")
    return request.param


@pytest.fixture(scope="module")
def trained():
    return _bottleneck(Lasso(0.3, start=LearnedStart(6, sites=400)), steps=150)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(("refit", "nonnegative"), [(True, False), (False, False), (False, True)])
def test_codes_are_the_same_with_and_without(refit, nonnegative, monkeypatch):
    monkeypatch.setattr(Lasso, "_TOLERANCE", 1e-12)
    code = Lasso(0.3, refit=refit, nonnegative=nonnegative, start=LearnedStart(6, sites=8))
    warm = _bottleneck(code, steps=5)
    features = _features(300, seed=99)
    torch.testing.assert_close(warm(features).z, _without(warm)(features).z, atol=1e-5, rtol=0)


@pytest.mark.usefixtures("path")
def test_within_the_tolerance_of_training_objectives_agree(trained):
    features = _features(500, seed=99)
    with torch.no_grad():
        signals, atoms = trained._problem(features)
        weights = trained.code.penalties(signals, atoms, trained.level)
        guess = trained.starter.propose(signals, atoms, weights)
        cold, warm = (
            descend(signals, atoms, weights, L1(1.0), (1e-3, 20_000), start)
            for start in (None, guess)
        )
    assert bool(cold.converged.all() & warm.converged.all())
    torch.testing.assert_close(warm.objective, cold.objective, rtol=1e-3, atol=0)


def test_a_trained_guess_saves_the_solver_steps(trained, path):
    """Signals that are done after a budget that leaves some of them unfinished without it."""
    features = _features(500, seed=99)
    with torch.no_grad():
        signals, atoms = trained._problem(features)
        weights = trained.code.penalties(signals, atoms, trained.level)
        guess = trained.starter.propose(signals, atoms, weights)
        budget = 1 if path == "compiled" else 25  # rounds, or coordinate moves
        cold, warm = (
            descend(signals, atoms, weights, L1(1.0), (1e-3, budget), start).converged
            for start in (None, guess)
        )
    assert cold.double().mean() < 0.9
    assert warm.double().mean() > cold.double().mean() + 0.05


def test_the_guess_learns(trained):
    fresh = _without(trained)
    fresh.starter = copy.deepcopy(trained.starter)
    fresh.starter.forget(torch.arange(40))
    features = _features(400, seed=99)
    before, after = (b(features).terms["start"].mean() for b in (fresh, trained))
    assert after < 0.5 * before


def test_nothing_but_the_start_learns_from_its_term(trained):
    features = _features(50).requires_grad_()
    term = trained(features).terms["start"].sum()
    starter = list(trained.starter.parameters())
    gradients = torch.autograd.grad(
        term, [features, trained.dictionary, *starter], allow_unused=True
    )
    assert gradients[0] is None
    assert gradients[1] is None
    assert all(bool((gradient != 0).any()) for gradient in gradients[2:])


def test_every_step_looks_at_other_sites():
    starter = _bottleneck(Lasso(start=LearnedStart(2, sites=4))).starter
    seen = [starter.places(16, torch.tensor(step)).tolist() for step in range(4)]
    assert seen[0] == [0, 4, 8, 12]
    assert sorted(itertools.chain(*seen)) == list(range(16))
    assert starter.places(3, torch.tensor(1)).tolist() == [1, 2, 0]


def test_outside_training_there_is_no_start(trained):
    features = _features(60, seed=7)
    evaluated = copy.deepcopy(trained).eval()
    latent, cold = evaluated(features), _without(evaluated)(features)
    assert torch.equal(latent.z, cold.z)
    assert torch.equal(latent.terms["start"], torch.zeros(60).double())


def test_a_replaced_atom_is_guessed_afresh():
    bottleneck = _bottleneck(Lasso(0.3, start=LearnedStart()), steps=5)
    with torch.no_grad():
        bottleneck.starter.offset.fill_(1.0)
        bottleneck.idle[7] = 1e9
    latent = bottleneck(_features(100))
    latent.stats["atom_counts"][7] = 0  # passed over
    bottleneck.update([latent])
    assert not bool(bottleneck.starter.offset[7].any())
    assert bool(bottleneck.starter.offset[6].all())


def test_it_is_part_of_what_is_described_and_saved(tmp_path):
    code = Lasso(0.3, start=LearnedStart(5, sites=3))
    torch.manual_seed(0)
    model = nw.Autoencoder.for_vectors(12, SparseDictionary(20, 12, code))
    with torch.no_grad():
        model.bottleneck.starter.offset.normal_()
    model.save(tmp_path)
    again = nw.Autoencoder.load(tmp_path)
    assert spec(again.bottleneck) == spec(model.bottleneck)
    assert again.bottleneck.code.start.width == 5
    assert torch.equal(again.bottleneck.starter.offset, model.bottleneck.starter.offset)
    assert build(spec(code)).start.sites == 3


def test_what_is_no_start_is_refused():
    with pytest.raises(ValueError, match=">= 1"):
        LearnedStart(0)
    with pytest.raises(TypeError, match="LearnedStart"):
        Lasso(0.3, start=3)
