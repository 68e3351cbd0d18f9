"""An optimiser that is told to step twice for one gradient."""

from typing import Any

import torch
from torch import nn

from narrows.training import Optimization


class StepsTwice(Optimization):
    """Adam as in the sparse-VAE report's loop, which calls `optimizer.step()` twice a batch.

    The second step follows the same gradient with the moments moved on: nearly a doubled
    learning rate.

    Args:
        learning_rate: as in `Optimization`, and so the other arguments.
    """

    def optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        """`Optimization`'s, stepping twice."""
        once = super().optimizer(module)
        return _Twice(once.param_groups, lr=self.learning_rate)


class _Twice(torch.optim.AdamW):
    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        super().step()
        return loss
