"""A part of the model that stays as it began: what the rest learns without it."""

from pathlib import Path

import torch
from torch import Tensor, nn

from narrows.autoencoder import Autoencoder, Loss
from narrows.training.callbacks.base import Callback
from narrows.training.pack import State


class Frozen(Callback):
    """Puts one parameter back after every step, whatever the gradient and running updates did.

    A dictionary frozen at random directions is the floor of every learned one.

    Args:
        parameter: its path in the model, as `model.named_parameters()` has it.

    Raises:
        ValueError: at the start of training, if the model has no such parameter.
    """

    def __init__(self, parameter: str = "bottleneck.dictionary") -> None:
        self.parameter = parameter
        self.kept: Tensor = torch.zeros(0)

    def begin(self, model: Autoencoder, _folder: Path | None, /) -> None:
        """Keeps the parameter as it is now."""
        self.kept = self._find(model).detach().clone()

    @torch.no_grad()
    def after_step(self, model: Autoencoder, _loss: Loss, /) -> None:
        """Puts it back."""
        self._find(model).copy_(self.kept)

    def state(self) -> State:
        """What was kept."""
        return {"kept": self.kept}

    def restore(self, state: State) -> None:
        """Takes it back, onto the device where it was kept."""
        self.kept.copy_(state["kept"])

    def _find(self, model: Autoencoder) -> nn.Parameter:
        known = dict(model.named_parameters())
        if self.parameter not in known:
            raise ValueError(
                f"the model has no parameter {self.parameter!r}; it has {', '.join(known)}"
            )
        return known[self.parameter]
