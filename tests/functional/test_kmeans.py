import itertools

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from narrows.functional.kmeans import kmeans, kmeans_plus_plus


def _inertia(rows, centers):
    return torch.cdist(rows, centers).min(1).values.square().sum().item()


def test_it_agrees_with_scikit_learn_from_the_same_start():
    rows = torch.randn(800, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    start = rows[:12]
    reference = KMeans(12, init=start.numpy(), n_init=1, max_iter=25, tol=0, algorithm="lloyd")
    reference.fit(rows.numpy())
    centers, counts = kmeans(rows, start, iterations=25)
    assert np.allclose(centers.numpy(), reference.cluster_centers_, atol=1e-9)
    assert counts.sum() == 800


def test_an_empty_center_goes_to_the_row_farthest_from_its_own():
    rows = torch.tensor([[0.0], [0.2], [10.0], [10.2], [30.0]])
    centers, counts = kmeans(rows, torch.tensor([[0.0], [12.0], [-99.0]]))
    assert sorted(centers.flatten().tolist()) == pytest.approx([0.1, 10.1, 30.0])
    assert sorted(counts.tolist()) == [1, 2, 2]


def test_more_centers_than_distinct_rows_leave_the_rest_empty():
    rows = torch.tensor([[1.0], [1.0], [2.0]])
    centers, counts = kmeans(rows, torch.tensor([[1.0], [2.0], [9.0]]))
    assert centers.flatten().tolist() == [1.0, 2.0, 9.0]
    assert counts.tolist() == [2, 1, 0]


def test_each_iteration_lowers_the_summed_squared_distance():
    rows = torch.randn(500, 3, generator=torch.Generator().manual_seed(1))
    values = [_inertia(rows, kmeans(rows, rows[:10], n)[0]) for n in range(1, 8)]
    assert all(after <= before for before, after in itertools.pairwise(values))


@pytest.mark.parametrize("rounds", [1, 3, 32])
def test_spread_starts_hit_every_far_cluster(rounds):
    centres = 1000 * torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)))
    rows = (centres[:, None] + torch.rand(16, 40, 4)).reshape(-1, 4)
    generator = torch.Generator().manual_seed(0)
    drawn = kmeans_plus_plus(rows, 16 if rounds == 32 else 160, generator, rounds)
    assert torch.cdist(centres, drawn).min(1).values.max() < 10


def test_spread_gives_the_number_asked_for_and_only_rows():
    rows = torch.randn(50, 2)
    for size in (1, 2, 33, 34, 50, 70):
        drawn = kmeans_plus_plus(rows, size, torch.Generator().manual_seed(0))
        assert drawn.shape == (size, 2)
        assert (drawn[:, None] == rows).all(-1).any(1).all()
    assert kmeans_plus_plus(torch.ones(5, 2), 4).shape == (4, 2)


def test_no_rows_or_iterations_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        kmeans(torch.zeros(0, 2), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="at least 1"):
        kmeans(torch.zeros(3, 2), torch.zeros(1, 2), iterations=0)


@pytest.mark.parametrize(("size", "dim", "spread"), [(16, 2, 8), (64, 8, 6)])
def test_separated_blobs_are_found_as_well_as_by_scikit_learn(size, dim, spread):
    ratios = []
    for seed in range(8):
        generator = torch.Generator().manual_seed(seed)
        means = torch.randn(size, dim, generator=generator) * spread
        rows = means[torch.randint(size, (50 * size,), generator=generator)]
        rows = rows + torch.randn(rows.shape, generator=generator)
        centers, _ = kmeans(rows, kmeans_plus_plus(rows, size, generator))
        error = _inertia(rows, centers)
        known = KMeans(size, n_init=1, max_iter=10, random_state=seed).fit(rows.numpy())
        ratios.append(error / known.inertia_)
    assert sum(ratios) / len(ratios) < 1.05
