"""A network on a large batch within the memory of a small one."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def in_parts(module: nn.Module, x: Tensor, *, size: int | None) -> Tensor:
    """module(x), of which the activations of `size` rows at a time are held for the gradient.

    Each part is computed without keeping its activations, and again when its gradient is asked
    for: one forward pass more. Output and gradient are those of the parts, one after the other:
    of the whole, where each row's output depends on that row alone. What a module remembers of
    its batches (the running moments of BatchNorm) it learns from the first pass only, and its
    random numbers are the same in both.

    Args:
        module: rows `[n, ...]` -> rows `[n, ...]`.
        x: `[n, ...]`.
        size: rows at a time; None for all of them, and nothing is computed twice.

    Source: Chen, Xu, Zhang & Guestrin (2016), "Training deep nets with sublinear memory cost";
        for parts of a batch in place of layers, Gao, Zhang, Han & Callan (2021), section 3.2.

    Example:
        >>> module, x = nn.Linear(3, 2), torch.randn(5, 3)
        >>> torch.allclose(in_parts(module, x, size=2), module(x))
        True
    """
    if size is None or len(x) <= size or not torch.is_grad_enabled():
        return module(x)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _borrowed_buffers(module)

    parts: list[Tensor] = [
        checkpoint(module, part, use_reentrant=False, context_fn=contexts) for part in x.split(size)
    ]
    # In the layout of the parts: random numbers for a tensor are drawn in the order of its memory.
    order = sorted(range(parts[0].dim()), key=lambda axis: -parts[0].stride(axis))
    rows = torch.cat([part.permute(order) for part in parts], order.index(0))
    return rows.permute([order.index(axis) for axis in range(len(order))])


@contextmanager
def _borrowed_buffers(network: nn.Module) -> Iterator[None]:
    """Lets a network write to copies of its buffers meanwhile."""
    own = [
        (module, name, buffer)
        for module in network.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    for module, name, buffer in own:
        setattr(module, name, buffer.clone())
    try:
        yield
    finally:
        for module, name, buffer in own:
            setattr(module, name, buffer)
