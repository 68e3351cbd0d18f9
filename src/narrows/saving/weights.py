"""The weights of a saved model: written with a checksum, verified, and a limit to what is built.

`model.json` says how large a model is, `model.safetensors` how much there is. While the parts are
built nothing may become much larger than the weights, so that a damaged or made-up size is
refused before it takes the machine's memory.
"""

import contextlib
import errno
import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode

from narrows.saving.writing import file_checksum, whole

CHECKSUM = "sha256"
"""Key of `model.json` under which the checksum of the weights stands."""
_SHAPE = "shape"
"""Key of the weights' header under which the shape of an example stands; convolutions have any."""
_REMEDY = "take the model's folder from a whole copy, or save it again"
_FREE_ELEMENTS, _FREE_PARTS, _TIMES = 2**24, 1024, 8
"""Elements and registered parts that any model may have, and times as many as the weights have."""
_FAULTS = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    MemoryError,
)
_MAKERS = {
    torch.arange, torch.empty, torch.eye, torch.full, torch.linspace, torch.ones, torch.rand,
    torch.randint, torch.randn, torch.randperm, torch.zeros,
}  # fmt: skip


def write_weights(path: Path, state: Mapping[str, Tensor], shape: object = None) -> str:
    """Writes a state whole or not at all, and the shape of an example; returns the checksum."""
    header = None if shape is None else {_SHAPE: json.dumps(shape)}
    with whole(path) as partial:
        tensors = {name: value.detach().contiguous() for name, value in state.items()}
        write_tensors(partial, tensors, header)
        return file_checksum(partial)


def write_tensors(
    path: Path, tensors: dict[str, Tensor], header: dict[str, str] | None = None
) -> None:
    """Writes a safetensors file of the mode that all files of the user have.

    The library writes under a name of chance first, which a kill would leave there for ever: it
    gets a folder of its own, which the next writing of the same file clears.

    Raises:
        OSError: if it cannot be written.
    """
    folder = path.with_name(f"{path.name}.folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        own = folder / "own"
        own.touch()
        mode = own.stat().st_mode  # the library gives its files another
        save_file(tensors, folder / path.name, header)
        (folder / path.name).chmod(mode)
        (folder / path.name).replace(path)
    except SafetensorError as error:  # how a full disk shows
        raise OSError(errno.EIO, str(error), str(path)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_weights(path: Path, checksum: object, shape: object = None) -> dict[str, Tensor]:
    """The state that `write_weights` wrote.

    Raises:
        ValueError: if the file is truncated, another than the one with this checksum, or says
            another shape of an example.
    """
    if checksum != file_checksum(path):
        fault = "its checksum is not the one in model.json" if checksum else "it has no checksum"
        raise ValueError(f"{path} is damaged ({fault}): {_REMEDY}")
    try:
        with safe_open(path, "pt") as file:
            said = (file.metadata() or {}).get(_SHAPE)
        if said not in (None, json.dumps(shape)):
            raise ValueError(
                f"model.json beside {path} says shape {shape}, and the weights are of a model for "
                f"examples of shape {said}: {_REMEDY}"
            )
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}): {_REMEDY}") from error


@contextlib.contextmanager
def limited(state: Mapping[str, Tensor], path: Path) -> Iterator[None]:
    """Refuses to build in its block what is much larger than the weights.

    Args:
        state: the weights.
        path: of the description that is built, for the message.

    Raises:
        ValueError: with the path, if a size does not fit or the parts cannot be built.
    """
    elements = _TIMES * sum(map(Tensor.numel, state.values())) + _FREE_ELEMENTS
    parts = _TIMES * len(state) + _FREE_PARTS

    def count(_module: nn.Module, name: str, part: Tensor | nn.Module | None) -> None:
        nonlocal parts, elements
        parts -= 1
        elements -= part.numel() if isinstance(part, Tensor) else 0
        if parts < 0 or elements < 0:
            raise ValueError(f"{name!r} is more than the weights beside it can fill")

    with contextlib.ExitStack() as stack:
        for register in (
            hooks.register_module_parameter_registration_hook,
            hooks.register_module_buffer_registration_hook,
            hooks.register_module_module_registration_hook,
        ):
            stack.callback(register(count).remove)
        stack.enter_context(_Bounded(elements))
        try:
            yield
        except _FAULTS as error:
            text = str(error).partition("\n")[0]
            said = f"it has no {text}" if isinstance(error, KeyError) else text
            raise ValueError(
                f"{path} describes no model that fits its weights ({said}): {_REMEDY}"
            ) from error


class _Bounded(TorchFunctionMode):
    """Refuses to make a tensor of more elements, before its memory is taken."""

    def __init__(self, elements: int) -> None:
        super().__init__()
        self.elements = elements

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        given = dict(kwargs or {})
        if func in _MAKERS:
            plain = {k: v for k, v in given.items() if k not in ("device", "generator", "out")}
            shape = tuple(func(*args, device="meta", **plain).shape)
            if math.prod(shape) > self.elements:
                raise ValueError(f"a part of shape {shape} is more than the weights can fill")
        return func(*args, **given)


def fill(module: nn.Module, state: Mapping[str, Tensor], *, path: Path) -> None:
    """Copies weights into a module.

    Raises:
        ValueError: with what differs, if they are of another model.
    """
    try:
        module.load_state_dict(state)
    except (RuntimeError, KeyError) as error:
        said = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"{path} does not fit its model.json ({said}): {_REMEDY}") from error
