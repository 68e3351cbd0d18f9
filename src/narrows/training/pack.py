"""Nested state as tensors by name plus plain JSON: what a checkpoint is made of, without pickle."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

State = Mapping[str, Any]
"""Tensors and plain values in nested dicts, lists and tuples, under names."""

_TENSOR, _TUPLE, _ITEMS = "$tensor", "$tuple", "$items"
_MARKS = (_TENSOR, _TUPLE, _ITEMS)


def pack(state: Any) -> tuple[dict[str, Tensor], Any]:
    """Separates the tensors of nested dicts, lists and tuples from the rest.

    The rest is plain JSON; a tensor leaves `{"$tensor": name}` behind, tuples and dicts whose
    keys are not all strings are marked likewise, so that `unpack` gives back an equal value.
    Tensors are detached, brought to the CPU and made contiguous; those that share memory are
    copied, because a safetensors file stores no sharing.

    Raises:
        TypeError: if a value is neither a tensor nor plain; it is named by its path.
    """
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()

    def visit(value: Any, path: str) -> Any:
        if isinstance(value, Tensor):
            stored = value.detach().to("cpu").contiguous()
            place = stored.untyped_storage().data_ptr()
            tensors[path] = stored.clone() if place in seen else stored
            seen.add(place)
            return {_TENSOR: path}
        if isinstance(value, Mapping):
            parts = {
                key: visit(part, f"{path}.{key}" if path else str(key))
                for key, part in value.items()
            }
            if all(isinstance(key, str) and key not in _MARKS for key in parts):
                return parts
            return {_ITEMS: [[visit(key, path), part] for key, part in parts.items()]}
        if isinstance(value, (list, tuple)):
            items = [visit(part, f"{path}.{place}") for place, part in enumerate(value)]
            return {_TUPLE: items} if isinstance(value, tuple) else items
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise TypeError(
            f"cannot store {type(value).__name__} at {path!r}: checkpoints hold tensors, numbers, "
            "text, lists and dicts; convert it to one of these"
        )

    return tensors, visit(state, "")


def unpack(tensors: Mapping[str, Tensor], plain: Any) -> Any:
    """The state that `pack` took apart."""
    if isinstance(plain, list):
        return [unpack(tensors, part) for part in plain]
    if not isinstance(plain, dict):
        return plain
    if plain.keys() == {_TENSOR}:
        return tensors[plain[_TENSOR]]
    if plain.keys() == {_TUPLE}:
        return tuple(unpack(tensors, part) for part in plain[_TUPLE])
    if plain.keys() == {_ITEMS}:
        return {unpack(tensors, key): unpack(tensors, part) for key, part in plain[_ITEMS]}
    return {key: unpack(tensors, part) for key, part in plain.items()}
