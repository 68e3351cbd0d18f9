"""Reads the plain values out of a pickle without running it.

A pickle is a program. CIFAR-10's "python version" is one that builds a dict of lists, strings
and one array of bytes; this reads exactly such programs by interpreting the few instructions
they need, and refuses every other. Nothing named in the file is imported or called.
"""

import math
import pickletools
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class _Name:
    """A global that the file mentions; never looked up."""

    path: str


_RECONSTRUCT = {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
_DTYPE = "numpy dtype"
_KNOWN = _RECONSTRUCT | {"numpy ndarray", _DTYPE}
_MARK = object()


class _Array:
    """An array of bytes under construction: `shape` and `data` arrive with its state."""

    value: Any = None


class _UnsignedByte:
    """The one element type that is admitted."""


_PUSH = {
    "BININT", "BININT1", "BININT2", "INT", "LONG1",
    "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
_CONSTANT = {"NEWTRUE": True, "NEWFALSE": False, "NONE": None}
_OLD_STRING = {"SHORT_BINSTRING", "BINSTRING", "STRING"}
_TUPLE = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_STORE = {"BINPUT", "LONG_BINPUT", "PUT"}
_FETCH = {"BINGET", "LONG_BINGET", "GET"}


def read_plain(content: bytes, path: Any = "the file") -> Any:
    """The dict, list, string, number or array of bytes that a pickle describes.

    Raises:
        ValueError: if the pickle is damaged or would build anything else.
    """
    try:
        return _Reader().read(content)
    except ValueError as error:
        raise ValueError(
            f"{path}: {error}; only plain dicts, lists and arrays of bytes are read"
        ) from None
    except (IndexError, KeyError, TypeError, AttributeError, EOFError) as error:
        raise ValueError(f"{path} is truncated or damaged ({error!r}); fetch it again") from None


class _Reader:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def read(self, content: bytes) -> Any:
        argument: Any
        for code, argument, _ in pickletools.genops(content):
            name = code.name
            if name == "STOP":
                return _finished(self.stack.pop(), {})
            if name in _PUSH:
                self.stack.append(argument)
            elif name in _CONSTANT:
                self.stack.append(_CONSTANT[name])
            elif name in _OLD_STRING:  # Python 2's str, which is bytes
                self.stack.append(argument.encode("latin-1"))
            elif name in _STORE:
                self.memo[argument] = self.stack[-1]
            elif name in _FETCH:
                self.stack.append(self.memo[argument])
            elif name == "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            elif name not in ("PROTO", "FRAME"):
                self._build(name, argument)
        raise EOFError("no end")

    def _build(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name == "MARK":
            stack.append(_MARK)
        elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
            stack.append({"EMPTY_DICT": {}, "EMPTY_LIST": [], "EMPTY_TUPLE": ()}[name])
        elif name == "TUPLE":
            items = self._marked()
            stack.append(tuple(items))
        elif name in _TUPLE:
            items = [stack.pop() for _ in range(_TUPLE[name])]
            stack.append(tuple(reversed(items)))
        elif name in ("APPEND", "APPENDS"):
            items = self._marked() if name == "APPENDS" else [stack.pop()]
            _expect(stack[-1], list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self._marked() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            _expect(stack[-1], dict).update(zip(items[::2], items[1::2], strict=True))
        else:
            self._array(name, argument)

    def _array(self, name: str, argument: Any) -> None:
        """The instructions by which NumPy describes an array of unsigned bytes."""
        stack = self.stack
        if name in ("GLOBAL", "STACK_GLOBAL"):
            path = argument if name == "GLOBAL" else " ".join((stack.pop(-2), stack.pop()))
            if path not in _KNOWN:
                raise ValueError(f"it names {path!r}")
            stack.append(_Name(path))
        elif name == "REDUCE":
            arguments, called = stack.pop(), _expect(stack.pop(), _Name)
            stack.append(_construct(called.path, arguments))
        elif name == "BUILD":
            state = stack.pop()
            if isinstance(stack[-1], _Array):
                stack[-1].value = _fill(state)
            elif not isinstance(stack[-1], _UnsignedByte):
                raise ValueError("it sets the state of an object")
        else:
            raise ValueError(f"it contains the instruction {name}")

    def _marked(self) -> list[Any]:
        for at in range(len(self.stack) - 1, -1, -1):
            if self.stack[at] is _MARK:
                items = self.stack[at + 1 :]
                del self.stack[at:]
                return items
        raise IndexError("no mark")


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"it treats a {type(value).__name__} as a {kind.__name__}")
    return value


def _construct(path: str, arguments: tuple[Any, ...]) -> Any:
    if path in _RECONSTRUCT:
        return _Array()
    if path == _DTYPE and arguments[0] in (b"u1", "u1", b"|u1", "|u1"):
        return _UnsignedByte()
    raise ValueError(f"it calls {path} with {str(arguments)[:60]}")


def _fill(state: tuple[Any, ...]) -> Any:
    """The array of (version, shape, element type, Fortran order, bytes)."""
    _, shape, kind, fortran, data = state
    _expect(kind, _UnsignedByte)
    _expect(data, bytes)
    if not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ValueError(f"it has an array of shape {shape}")
    if len(data) != math.prod(shape):
        raise ValueError(f"an array of shape {shape} has {len(data)} bytes")
    return np.frombuffer(data, np.uint8).reshape(shape, order="F" if fortran else "C")


def _finished(value: Any, done: dict[int, Any], depth: int = 0) -> Any:
    """The value with its arrays in place; what is shared is converted once, so work is linear."""
    if depth > 8:
        raise ValueError("it nests more than 8 deep")
    if id(value) in done:
        return done[id(value)]
    result = value
    if isinstance(value, _Array):
        result = value.value
    elif isinstance(value, dict):
        result = {key: _finished(part, done, depth + 1) for key, part in value.items()}
    elif isinstance(value, (list, tuple)):
        result = type(value)(_finished(part, done, depth + 1) for part in value)
    elif isinstance(value, (_Name, _UnsignedByte)):
        raise ValueError("it stores a reference to code")
    done[id(value)] = result
    return result
