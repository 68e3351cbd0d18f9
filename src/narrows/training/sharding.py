"""Encoder and decoder cut into shards, one on each rank; the parts between them whole on all."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from narrows.autoencoder import Autoencoder
from narrows.functional.ranks import rank, ranks, sum_over_ranks
from narrows.training.pack import State


class Sharded(DDPStrategy):
    """Data parallel training in which each rank keeps a share of encoder and decoder.

    Their weights, gradients and AdamW's moments are cut along the first axis. A layer's weights
    are put together when the layer is computed and dropped after it; gradients are averaged over
    ranks as they are cut. Bottleneck, prior and likelihood, which are small, updated in place and
    measured part by part, are whole on every rank: `average_gradients` is theirs.

    Source: Rajbhandari, Rasley, Ruwase & He (2020), "ZeRO", stage 3, as
        `torch.distributed.fsdp.fully_shard` does it.
    """

    def setup_module(self, module: nn.Module) -> nn.Module:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Cuts the networks of `module.model`, which starts as it is on the first rank."""
        model = module.model
        assert isinstance(model, Autoencoder)
        for tensor in itertools.chain(model.parameters(), model.buffers()):
            dist.broadcast(tensor.detach(), 0)
        mesh = init_device_mesh(self.root_device.type, (self.world_size,))
        for layer in itertools.chain(_layers(model.encoder), _layers(model.decoder)):
            fully_shard(layer, mesh=mesh, reshard_after_forward=True)
        return module


def average_gradients(model: nn.Module) -> None:
    """The mean over ranks of the gradients of all parameters that are whole."""
    whole = [p for p in model.parameters() if p.requires_grad and not isinstance(p, DTensor)]
    if ranks() == 1 or not whole:
        return
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in whole]
    mean = sum_over_ranks(torch.cat([grad.flatten() for grad in grads])) / ranks()
    for parameter, part in zip(whole, mean.split([p.numel() for p in whole]), strict=True):
        parameter.grad = part.view_as(parameter)


def clip_gradients(model: nn.Module, largest: float) -> None:
    """Scales all gradients so that the norm of the whole of them is at most `largest`."""
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    if not grads:
        return
    squares = torch.stack([local(grad).square().sum() for grad in grads])
    cut = torch.tensor([isinstance(grad, DTensor) for grad in grads], device=squares.device)
    norm = (sum_over_ranks(squares[cut].sum()) + squares[~cut].sum()).sqrt()
    factor = (largest / (norm + 1e-6)).clamp(max=1)
    for grad in grads:
        local(grad).mul_(factor)


@torch.no_grad()
def share_buffers(model: Autoencoder) -> None:
    """The networks' buffers (the running moments of BatchNorm) become the first rank's."""
    if ranks() > 1:
        for buffer in itertools.chain(model.encoder.buffers(), model.decoder.buffers()):
            dist.broadcast(buffer, 0)


def local(tensor: Tensor) -> Tensor:
    """This rank's share of a tensor; all of it where it is whole."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def gathered(state: Any, everywhere: bool = False) -> Any:
    """Nested state with every cut tensor whole again, on the CPU; all ranks must ask together.

    Args:
        state: dicts, lists and tuples of anything.
        everywhere: whether all ranks need it; else the others than the first get None for each.
    """
    if isinstance(state, DTensor):
        whole = state.full_tensor().detach()
        return whole.cpu() if everywhere or rank() == 0 else None
    if isinstance(state, Mapping):
        return {key: gathered(value, everywhere) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(gathered(value, everywhere) for value in state)
    return state


def cut_like(whole: Tensor, like: Tensor) -> Tensor:
    """A tensor that every rank has whole, cut as `like` is, if it is."""
    if not isinstance(like, DTensor) or isinstance(whole, DTensor):
        return whole
    whole = whole.to(like.device, like.dtype)
    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """`load_state_dict` of whole tensors into a model that may be cut."""
    own = model.state_dict()
    model.load_state_dict(
        {name: cut_like(value, own.get(name, value)) for name, value in weights.items()}
    )


def load_optimizer(optimizer: torch.optim.Optimizer, state: State) -> None:
    """The same for the optimiser's moments, which have the shape of their parameter."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def cut(value: Any, like: Tensor) -> Any:
        fits = isinstance(value, Tensor) and value.shape == like.shape
        return cut_like(value, like) if fits else value

    moments = {
        number: {name: cut(value, parameters[number]) for name, value in of.items()}
        for number, of in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": moments})


def _layers(network: nn.Module) -> Iterator[nn.Module]:
    """What is put together at a time, inner before outer.

    The elements of a chain, and of the lists of blocks within: what is called as a module. Not
    every module is: some only lend their weights to the one around them.
    """
    lists = [part for part in network.modules() if isinstance(part, nn.ModuleList)]
    blocks = [block for part in reversed(lists) for block in part]
    for layer in dict.fromkeys([*blocks, *_chain(network)]):
        if next(layer.parameters(), None) is not None:
            yield layer


def _chain(network: nn.Module) -> Iterator[nn.Module]:
    if isinstance(network, nn.Sequential):
        for part in network:
            yield from _chain(part)
    else:
        yield network
