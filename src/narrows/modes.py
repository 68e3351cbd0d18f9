"""Eval mode for a while, and every submodule's own mode back."""

from types import TracebackType

from torch import nn


class evaluating:  # noqa: N801 (reads as a statement)
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

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.modes: dict[nn.Module, bool] = {}

    def __enter__(self) -> None:
        self.modes = {part: part.training for part in self.module.modules()}
        self.module.eval()

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        for part, mode in self.modes.items():
            part.training = mode
