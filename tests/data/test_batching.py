import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from narrows.data.batching import RUNS, batches, permutation, share, steps_per_epoch

COUNTS = st.integers(1, 60)


@given(n=COUNTS, size=COUNTS, seed=st.integers(0, 2**40), epoch=st.integers(0, 1000))
def test_an_epoch_visits_every_row_once(n, size, seed, epoch):
    rows = torch.cat(list(batches(n, size, seed=seed, epoch=epoch, drop_last=False)))
    assert rows.sort().values.tolist() == list(range(n))


@given(n=COUNTS, size=COUNTS, start=st.integers(0, 70), drop_last=st.booleans())
def test_an_epoch_can_be_entered_at_any_batch(n, size, start, drop_last):
    whole = list(batches(n, size, seed=3, epoch=1, drop_last=drop_last))
    rest = list(batches(n, size, seed=3, epoch=1, start=start, drop_last=drop_last))
    assert [b.tolist() for b in rest] == [b.tolist() for b in whole[start:]]
    assert len(whole) == steps_per_epoch(n, size, drop_last=drop_last)


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else():
    torch.manual_seed(0)
    first = permutation(100, seed=1, epoch=0)
    torch.manual_seed(99)
    assert torch.equal(first, permutation(100, seed=1, epoch=0))
    assert not torch.equal(first, permutation(100, seed=0, epoch=1))
    assert not torch.equal(first, permutation(100, seed=2, epoch=0))


@given(n=st.integers(1, 400), buffer=st.integers(1, 500), seed=st.integers(0, 9))
def test_a_shuffle_buffer_visits_every_row_once_and_reads_runs(n, buffer, seed):
    order = permutation(n, seed, 0, buffer=buffer)
    assert order.sort().values.tolist() == list(range(n))
    run = max(1, buffer // RUNS)
    if buffer < n:  # the rows of a buffer are whole runs, but for those at its two ends
        for part in order.split(buffer):
            whole = part.sort().values.div(run, rounding_mode="floor").bincount() % run
            assert int((whole != 0).sum()) <= 3  # two ends, and the data's last run


def test_a_run_of_the_disk_is_read_within_one_buffer():
    first = permutation(1000, 0, 0, buffer=128)
    assert sorted(first[:128].tolist()) != list(range(128))
    assert len(first[:128].div(2, rounding_mode="floor").unique()) == 64
    assert not torch.equal(first, permutation(1000, 0, 1, buffer=128))


def test_cutting_batches_draws_nothing_from_the_global_generator():
    state = torch.get_rng_state()
    list(batches(10, 3))
    assert torch.equal(state, torch.get_rng_state())


def test_every_position_is_equally_likely_to_hold_every_row():
    # 4,000 epochs of 8 rows: each cell of the 8x8 table is binomial with mean 500, sd 21.
    table = torch.zeros(8, 8)
    for epoch in range(4000):
        table[torch.arange(8), permutation(8, 0, epoch)] += 1
    assert float((table - 500).abs().max()) < 5 * 21


def test_ranks_share_a_global_batch_without_overlap():
    index = torch.arange(12)
    parts = [share(index, rank, 3) for rank in range(3)]
    assert torch.equal(torch.cat(parts), index)
    with pytest.raises(ValueError, match="multiple of 5"):
        share(index, 0, 5)


@pytest.mark.parametrize("arguments", [(0, 4), (4, 0)])
def test_no_examples_or_no_batch_size_is_refused(arguments):
    with pytest.raises(ValueError, match="at least 1"):
        next(batches(*arguments))


@given(n=st.integers(1, 90), size=st.integers(1, 20), buffer=st.integers(1, 100))
def test_each_buffer_is_announced_once_before_any_of_its_rows(n, size, buffer):
    announced = []
    for start in (0, 2):
        announced.clear()
        found = batches(n, size, start=start, buffer=buffer, entering=announced.append)
        for index in found:
            known = torch.cat(announced)
            assert set(index.tolist()) <= set(known.tolist())
            assert len(known.unique()) == len(known)
            assert len(known) < len(index) + (start * size) + n  # of the present buffers alone
