"""Running state that follows the data: when it stops, in which precision, and a reminder."""

import functools
import warnings
from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

HALF = (torch.float16, torch.bfloat16)

_PATIENCE = 100  # training passes without update() after which a warning is given


class Following(nn.Module):
    """A module whose running state follows the data by `update`, unless it is frozen.

    A subclass that defines `update` has running state. `requires_grad_(False)` stops it together
    with the parameters; and training without any call of `update` is answered by one warning.

    Parameters and buffers stay in float32 or better when the module is converted to half
    precision, in which running averages stand still; `dtype` is what it was converted to.
    Non-persistent buffers are constants: they survive `to_empty`.

    Attributes:
        follows: True if `update` has something to do that the parts of this module do not do.
        precise: True if the module keeps its state in float32 or better.
    """

    follows: bool = False
    precise: bool = True
    _frozen: bool = False
    _since_update: int = 0  # training passes since the last update; not state, only a reminder

    def __init__(self) -> None:
        super().__init__()
        self.dtype: torch.dtype = torch.get_default_dtype()

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if "update" not in cls.__dict__:
            return
        cls.follows = cls.__dict__.get("follows", True)
        original = cls.__dict__["update"]

        @functools.wraps(original)
        def update(self: Following, *args: object, **kwargs: object) -> None:
            self._since_update = 0
            if not (self.follows and self.frozen):  # else its parts look for themselves
                original(self, *args, **kwargs)

        type.__setattr__(cls, "update", update)

    @property
    def has_running_state(self) -> bool:
        """True if this module or a part of it follows the data."""
        return any(part.follows for part in self.modules() if isinstance(part, Following))

    @property
    def frozen(self) -> bool:
        """True after `requires_grad_(False)`, or if there are parameters and none is trained."""
        some = next(self.parameters(), None) is not None
        return self._frozen or (some and not any(p.requires_grad for p in self.parameters()))

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freezes or frees parameters and running state, of this module and of its parts."""
        for part in self.modules():
            if isinstance(part, Following):
                part._frozen = not requires_grad
        return super().requires_grad_(requires_grad)

    def register_constant(self, name: str, make: Callable[[], Tensor]) -> None:
        """Registers what `make` returns as a non-persistent buffer, real also on a meta device."""
        device = torch.get_default_device()
        with torch.device("cpu" if device.type == "meta" else device):
            self.register_buffer(name, make(), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        given: Callable[[Tensor], Tensor] = getattr(fn, "given", fn)
        constants = {name: self._buffers[name] for name in self._non_persistent_buffers_set}
        self.dtype = given(torch.zeros((), dtype=self.dtype, device="cpu")).dtype

        def applied(tensor: Tensor) -> Tensor:
            made = given(tensor)
            lost = made.dtype in HALF and tensor.dtype not in HALF
            return tensor.to(made.device) if lost else made

        applied.given = given  # pyright: ignore[reportFunctionMemberAccess]
        super()._apply(applied if self.precise else fn, recurse)
        for name, constant in constants.items():
            made = self._buffers[name]
            if constant is not None and made is not None and not constant.is_meta:
                self._buffers[name] = constant.to(made.device, made.dtype)
        return self

    def count_pass(self) -> None:
        """Counts a training pass; says once that running state goes stale."""
        if torch.compiler.is_compiling() or not (self.training and torch.is_grad_enabled()):
            return
        if self.frozen or not self.follows:
            return
        self._since_update += 1
        if self._since_update == _PATIENCE:
            warnings.warn(
                f"{type(self).__name__}: {_PATIENCE} training passes without update(): its running "
                "state has not moved. Call model.update(x, loss) after each optimizer.step(), or "
                "update() of this part alone (narrows.fit does)",
                stacklevel=4,
            )
