"""Reads the plain values out of a pickle without running it.

A pickle is a program. CIFAR-10's "python version" is one that builds a dict of lists, strings
and one array of bytes; this reads exactly such programs by interpreting the few instructions
they need, and refuses every other. Nothing named in the file is imported or called.
"""

import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class _Name:
    """A global that the file mentions; never looked up."""

    path: str


class _Array:
    """An array of bytes under construction: its content arrives with its state."""

    value: object = None


class _UnsignedByte:
    """The one element type that is admitted."""


_RECONSTRUCT = {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
_DTYPE = "numpy dtype"
_KNOWN = _RECONSTRUCT | {"numpy ndarray", _DTYPE}
_MARK = object()
_PUSH = {
    "BININT", "BININT1", "BININT2", "INT", "LONG1",
    "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
_OLD_STRING = {"SHORT_BINSTRING", "BINSTRING", "STRING"}
_MAKE: dict[str, Callable[[], object]] = {
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "NONE": lambda: None,
    "MARK": lambda: _MARK,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_TUPLE = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def read_plain(content: bytes, path: str | Path = "the file") -> object:
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
        self.stack: list[object] = []
        self.memo: dict[object, object] = {}

    def read(self, content: bytes) -> object:
        for code, argument, _ in pickletools.genops(content):
            name = code.name
            if name == "STOP":
                return _finished(self.stack.pop(), {})
            if name in _PUSH:
                self.stack.append(argument)
            elif name in _MAKE:
                self.stack.append(_MAKE[name]())
            elif name in _OLD_STRING:  # Python 2's str, which is bytes
                self.stack.append(_expect(argument, str).encode("latin-1"))
            elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
                self.memo[argument] = self.stack[-1]
            elif name in ("BINGET", "LONG_BINGET", "GET"):
                self.stack.append(self.memo[argument])
            elif name == "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            elif name not in ("PROTO", "FRAME"):
                self._build(name, argument)
        raise EOFError("no end")

    def _build(self, name: str, argument: object) -> None:
        stack = self.stack
        if name == "TUPLE":
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

    def _array(self, name: str, argument: object) -> None:
        """The instructions by which NumPy describes an array of unsigned bytes."""
        stack = self.stack
        if name in ("GLOBAL", "STACK_GLOBAL"):
            path = argument if name == "GLOBAL" else f"{stack.pop(-2)} {stack.pop()}"
            if path not in _KNOWN:
                raise ValueError(f"it names {path!r}")
            stack.append(_Name(_expect(path, str)))
        elif name == "REDUCE":
            arguments, called = _expect(stack.pop(), tuple), _expect(stack.pop(), _Name)
            stack.append(_construct(called.path, arguments))
        elif name == "BUILD":
            state, built = _expect(stack.pop(), tuple), stack[-1]
            if isinstance(built, _Array):
                built.value = _fill(*state)
            elif not isinstance(built, _UnsignedByte):
                raise ValueError("it sets the state of an object")
        else:
            raise ValueError(f"it contains the instruction {name}")

    def _marked(self) -> list[object]:
        at = max(place for place, value in enumerate(self.stack) if value is _MARK)
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items


def _expect(value: object, kind: type[Kind]) -> Kind:
    if not isinstance(value, kind):
        raise ValueError(f"it treats a {type(value).__name__} as a {kind.__name__}")
    return value


def _construct(path: str, arguments: tuple[object, ...]) -> object:
    if path in _RECONSTRUCT:
        return _Array()
    if path == _DTYPE and arguments[0] in (b"u1", "u1", b"|u1", "|u1"):
        return _UnsignedByte()
    raise ValueError(f"it calls {path} with {str(arguments)[:60]}")


def _fill(_version: object, shape: object, kind: object, fortran: object, data: object) -> object:
    """The array that NumPy's state describes."""
    _expect(kind, _UnsignedByte)
    content = _expect(data, bytes)
    sizes = [_expect(size, int) for size in _expect(shape, tuple)]
    if min(sizes, default=0) < 0 or len(content) != math.prod(sizes):
        raise ValueError(f"an array of shape {shape} has {len(content)} bytes")
    return np.frombuffer(content, np.uint8).reshape(sizes, order="F" if fortran else "C")


def _finished(value: object, done: dict[int, object], depth: int = 0) -> object:
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
