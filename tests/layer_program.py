"""Two ranks train a model around a layer; the first writes what it ends with.

python layer_program.py RANK WORLD STORE OUT
"""

import sys

import torch
from safetensors.torch import save_file
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

import narrows as nw
from narrows.bottlenecks import CodebookLearning


class Model(nn.Module):
    """Two layers of half a width each, whose updates must meet in one order."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        # Which rows codes start on or are revived on depends on their order, which ranks change.
        learning = CodebookLearning(init="uniform", revive_after=None, decay=0.8)
        self.encoder, self.decoder = nn.Linear(6, 8), nn.Linear(8, 6)
        self.first = nw.Layer(nw.VectorQuantizer(12, 4, learning=learning))
        self.second = nw.Layer(nw.VectorQuantizer(20, 4, learning=learning))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The loss."""
        a, b = self.encoder(x).chunk(2, 1)
        (a, _, one), (b, _, two) = self.first(a), self.second(b)
        return (self.decoder(torch.cat([a, b], 1)) - x).square().sum(1).mean() + one + two


def train(rank: int, world: int) -> nn.Module:
    """Ten steps of two micro-batches; each rank has its share of every one."""
    model = Model()
    wrapped = DistributedDataParallel(model) if world > 1 else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    x = torch.randn(10, 2, 16, 6, generator=torch.Generator().manual_seed(1))
    for step in x:
        for micro in step:
            (wrapped(micro[rank::world]) / 2).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


if __name__ == "__main__":
    rank, world, store, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    torch.use_deterministic_algorithms(True)
    if world > 1:
        distributed.init_process_group(
            "gloo", init_method=f"file://{store}", rank=rank, world_size=world
        )
    found = train(rank, world)
    if rank == 0:
        save_file({k: v.contiguous() for k, v in found.state_dict().items()}, out)
    if world > 1:
        distributed.destroy_process_group()
