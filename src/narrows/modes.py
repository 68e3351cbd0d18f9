"""Eval mode, or no autocast, for a while."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Puts a module and its parts in eval mode for a `with` block, then restores each mode.

    Each submodule gets back the mode that it had, also after an exception: a part that was
    frozen in eval stays frozen.

    Example:
        >>> from torch import nn
        >>> module = nn.Dropout()
        >>> with evaluating(module):
        ...     module.training
        False
        >>> module.training
        True
    """
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """A `with` block in the precision of its tensors, whatever autocast is on around it.

    Where none is on it does nothing: an exported program cannot hold the switch.

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16), without_autocast(torch.device("cpu")):
        ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        torch.float32
    """
    if not torch.is_autocast_enabled(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
