"""Identifiers that are perfect, useless, and counted by hand."""

import itertools
import math

import pytest
import torch

from narrows.metrics import identifiers, tie_breakers


def test_identifiers_that_count_the_items_are_unique_and_use_every_level():
    code = torch.tensor(list(itertools.product(range(4), repeat=3)))
    found = identifiers(code, size=4)
    assert (found.items, found.uniqueness, found.alone, found.largest) == (64, 1, 1, 1)
    assert [level.usage for level in found.levels] == [1, 1, 1]
    assert [level.entropy_bits for level in found.levels] == pytest.approx([2, 2, 2])
    assert [level.prefixes for level in found.levels] == [4, 16, 64]
    assert [level.chance for level in found.levels] == pytest.approx([15 / 63, 3 / 63, 0])
    assert {level.purity for level in found.levels} == {None}


def test_one_identifier_for_all_is_not_unique_and_as_pure_as_chance():
    found = identifiers(torch.zeros(10, 2, dtype=torch.int64), size=8, vectors=torch.randn(10, 3))
    assert (found.uniqueness, found.alone, found.largest) == (0.1, 0, 10)
    assert [(level.usage, level.purity, level.chance) for level in found.levels] == [
        (1 / 8, 1, 1)
    ] * 2


def test_collisions_are_counted_by_hand():
    code = torch.tensor([[0, 1], [0, 1], [0, 1], [2, 0], [2, 1], [2, 1]])
    found = identifiers(code, size=3)
    assert (found.uniqueness, found.alone, found.largest) == (0.5, pytest.approx(1 / 6), 3)
    assert found.levels[0].usage == pytest.approx(2 / 3)
    p = torch.tensor([1, 5]) / 6
    assert found.levels[1].entropy_bits == pytest.approx(float(-(p * p.log2()).sum()))
    assert found.figures()["levels"][1]["prefixes"] == 3


def test_prefixes_that_follow_clusters_are_pure_and_shuffled_ones_are_as_chance():
    generator = torch.Generator().manual_seed(0)
    cluster = torch.arange(8).repeat_interleave(100)
    vectors = 100 * torch.eye(8)[cluster] + torch.randn(800, 8, generator=generator)
    within = torch.randint(0, 8, (800,), generator=generator)
    found = identifiers(torch.stack([cluster, within], 1), size=8, vectors=vectors)
    assert found.levels[0].purity == 1
    assert found.levels[0].chance == pytest.approx(99 / 799)
    assert found.levels[1].purity == pytest.approx(1 / 8, abs=0.02)
    lost = torch.stack([cluster, within], 1)[torch.randperm(800, generator=generator)]
    useless = identifiers(lost, size=8, vectors=vectors)
    assert useless.levels[0].purity == pytest.approx(useless.levels[0].chance, abs=0.02)


def test_with_tie_breakers_every_identifier_is_unique():
    generator = torch.Generator().manual_seed(0)
    code = torch.randint(0, 3, (100, 2), generator=generator)
    more = tie_breakers(code)
    assert len(torch.cat([code, more[:, None]], 1).unique(dim=0)) == 100
    first = {}
    for row, (ids, place) in enumerate(zip(code.tolist(), more.tolist(), strict=True)):
        assert place == first.setdefault(tuple(ids), 0), row
        first[tuple(ids)] += 1


@pytest.mark.parametrize(
    ("code", "options", "says"),
    [
        (torch.zeros(1, 2, dtype=torch.int64), {}, "at least 2 items"),
        (torch.zeros(4, dtype=torch.int64), {}, r"\[n, levels\]"),
        (torch.zeros(4, 2), {}, "integer codes"),
        (torch.full((4, 2), 9), {}, r"in 0\.\.8, got 9\.\.9"),
        (torch.full((4, 2), -1), {}, r"got -1\.\.-1"),
        (torch.zeros(4, 2, dtype=torch.int64), {"vectors": torch.zeros(3, 2)}, "each of 4 items"),
    ],
)
def test_what_are_no_identifiers_is_refused(code, options, says):
    with pytest.raises(ValueError, match=says):
        identifiers(code, size=9, **options)


def test_many_levels_do_not_overflow():
    code = torch.randint(0, 1000, (50, 40), generator=torch.Generator().manual_seed(0))
    assert identifiers(code, size=1000).uniqueness == 1
    assert math.isfinite(identifiers(code, size=1000).levels[-1].chance)
