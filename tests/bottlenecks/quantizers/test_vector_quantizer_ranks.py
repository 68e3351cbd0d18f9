import itertools

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from narrows.bottlenecks import CodebookLearning, VectorQuantizer
from narrows.functional.ranks import draw_over_ranks

KINDS = [
    {"learning": CodebookLearning(codebook, init, revive_after=2), "metric": metric}
    for codebook, init, metric in itertools.product(
        ["ema", "gradient"], ["data", "kmeans"], ["euclidean", "cosine"]
    )
]


def _batches():
    """Three kinds of batch: uneven over ranks, one rank empty, even."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(30, 10), (25, 25), (40, 0), (25, 25), (25, 25)]
    return [(torch.randn(a + b, 4, generator=generator), a) for a, b in sizes]


def _train(kind, share):
    """The state after updates on this rank's share of every batch."""
    quantizer = VectorQuantizer(24, 4, **kind)
    for batch, first in _batches():
        quantizer.update([quantizer(share(batch, first))])
    return quantizer.codebook.state_dict()


def _rank(rank, path, folder):
    dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    torch.set_num_threads(1)

    def share(batch, first):
        return batch[:first] if rank == 0 else batch[first:]

    torch.manual_seed(1)  # what the quantisers start from, before data
    states = [_train(kind, share) for kind in KINDS]
    drawn = draw_over_ranks(share(torch.arange(14.0)[:, None], 5), 6, torch.Generator())
    torch.save((states, drawn), f"{folder}/{rank}.pt")
    dist.barrier()  # neither hangs up while the other still listens
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    mp.start_processes(_rank, (folder / "store", folder), nprocs=2, start_method="spawn")
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_two_ranks_equal_one_rank_on_the_concatenated_batch(both):
    torch.manual_seed(1)
    for number, kind in enumerate(KINDS):
        alone = _train(kind, lambda batch, first: batch)
        for states, _ in both:
            for name, value in alone.items():
                same = torch.allclose(
                    states[number][name].double(), value.double(), rtol=1e-5, atol=1e-6
                )
                assert same, (kind, name)


def test_the_ranks_stay_bit_identical(both):
    for one, two in zip(both[0][0], both[1][0], strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_draw_over_ranks_is_the_draw_from_all_rows(both):
    alone = draw_over_ranks(torch.arange(14.0)[:, None], 6, torch.Generator())
    assert torch.equal(both[0][1], alone)
    assert torch.equal(both[1][1], alone)
    assert len(alone.unique()) == 6
