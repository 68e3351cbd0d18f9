"""Dictionaries beside others: the same, permuted, random, split; and true features."""

import itertools

import pytest
import torch

from narrows.codes import Atoms
from narrows.data.loaders.superposition import CHILDREN, GROUP, Law, Superposition
from narrows.metrics import cosines, matching, nearest_cosines, recovery

RANDOM = torch.Generator().manual_seed(0)


def random(size: int, dim: int = 6) -> torch.Tensor:
    return torch.randn(size, dim, generator=RANDOM)


def test_a_permuted_and_negated_dictionary_is_found_again():
    atoms = random(40)
    order = torch.randperm(40, generator=RANDOM)
    pairs = matching(atoms, -3 * atoms[order])
    assert torch.equal(order[pairs.columns], pairs.rows)
    assert (pairs.mean, pairs.found) == (pytest.approx(1), 1)
    assert matching(atoms, -atoms, signed=True).mean < 1


def test_the_matching_is_the_best_of_all_permutations():
    atoms, others = random(5), random(5)
    table = cosines(atoms, others).abs()
    best = max(sum(table[i, p] for i, p in enumerate(o)) for o in itertools.permutations(range(5)))
    assert matching(atoms, others).cosines.sum().item() == pytest.approx(best.item(), rel=1e-6)


def test_sizes_may_differ_and_widths_may_not():
    assert len(matching(random(7), random(4)).rows) == 4
    with pytest.raises(ValueError, match="of one width, got"):
        matching(random(3), random(3, 5))


def test_copies_are_near_one_another_and_axes_are_not():
    atoms = torch.cat([torch.eye(6), -torch.eye(6)[:2]])
    assert nearest_cosines(atoms, chunk=3).tolist() == [1, 1, 0, 0, 0, 0, 1, 1]
    with pytest.raises(ValueError, match="at least two atoms"):
        nearest_cosines(atoms[:1])


def coded(coefficients: torch.Tensor) -> Atoms:
    """A dense code as atoms."""
    every = torch.arange(coefficients.shape[1]).expand(coefficients.shape)
    return Atoms(every.contiguous(), coefficients)


def test_the_true_features_score_one_random_ones_and_copies_little():
    world = Superposition(64, 16, law=Law(3, noise=0))
    x, true = world.sample(2000, seed=1)
    order = torch.randperm(64, generator=RANDOM)
    best = recovery(
        world.features[order], world.features, code=coded(true[:, order]), true_code=true
    )
    assert (best.mcc, best.f1, best.uniqueness) == (pytest.approx(1), 1, 1)
    copies = world.features[:1].expand(64, -1)
    one = coded(true[:, :1].expand(-1, 64).contiguous())
    poor = recovery(copies, world.features, code=one, true_code=true)
    assert poor.uniqueness == 1 / 64
    assert poor.f1 < 0.3
    other = Superposition(64, 16, seed=5).features
    useless = recovery(other, world.features, code=coded(x @ other.T), true_code=true)
    assert useless.mcc < 0.8
    assert useless.f1 < 0.2  # of features that always fire


def test_f1_of_one_feature_is_that_of_its_precision_and_recall():
    features = torch.eye(2)
    true = torch.tensor([[1.0, 0], [1, 0], [1, 0], [0, 1]])
    mine = torch.tensor([[1.0, 0], [1, 0], [0, 0], [1, 1]])  # precision 2/3, recall 2/3
    found = recovery(features, features, code=coded(mine), true_code=true)
    assert found.f1 == pytest.approx((2 / 3 + 1) / 2)
    missed = recovery(features[:1], features, code=coded(mine[:, :1]), true_code=true)
    assert missed.f1 == pytest.approx(2 / 3 / 2)
    with pytest.raises(ValueError, match=r"true code \[4, 2\], got \(3, 2\)"):
        recovery(features, features, code=coded(mine), true_code=true[:3])


def test_the_synthetic_world_is_as_its_description_says():
    world = Superposition()
    x, true = world.sample(10_000)
    active = true != 0
    assert x.shape == (10_000, 96)
    assert world.features.shape == (1024, 96)
    assert active.sum(1).float().mean() == pytest.approx(8, abs=0.1)
    # Binomial with 10,000 draws: within five standard deviations, each of 1,024.
    spread = (world.rates * (1 - world.rates) / 10_000).sqrt()
    assert float(((active.float().mean(0) - world.rates) / spread).abs().max()) < 5
    groups = active.view(10_000, -1, GROUP)
    assert not (groups[:, :, 1 : 1 + CHILDREN] & ~groups[:, :, :1]).any()
    pair = groups[:, :, 6:].all(2).float().mean()
    assert pair > 3 * (world.rates.view(-1, GROUP)[:, 6:].prod(1)).mean()
    torch.testing.assert_close(x, true @ world.features, atol=0.15, rtol=0)


def test_without_correlation_and_hierarchy_features_are_independent():
    world = Superposition(64, 16, law=Law(4, correlation=0, hierarchy=False), seed=3)
    active = (world.sample(50_000).coefficients != 0).double()
    table = torch.corrcoef(active.T) - torch.eye(64)
    assert float(table.abs().max()) < 5 / 50_000**0.5


def test_the_offset_is_the_ratio_of_mean_and_spread():
    x = Superposition(64, 16, law=Law(3, offset=5, correlation=0, hierarchy=False)).sample(10_000).x
    spread = (x - x.mean(0)).square().sum(1).mean().sqrt()
    assert x.mean(0).norm() / spread == pytest.approx(5, rel=0.15)


@pytest.mark.parametrize("change", [{"l0": 0.0}, {"l0": 60.0}, {"correlation": 1.0}])
def test_worlds_that_cannot_be_are_refused(change):
    with pytest.raises(ValueError, match="expected l0"):
        Superposition(64, 16, law=Law(**change))
    with pytest.raises(ValueError, match="a multiple of 8"):
        Superposition(12)
