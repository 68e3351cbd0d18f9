"""Arguments held against their annotations, before anything is computed with them."""

import functools
import inspect
import numbers
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence, Set, Sized
from typing import Any, TypeGuard


class Part:
    """Base of models and of what they are made of, which arguments take beside plain values."""


def check_arguments(
    owner: str, function: Callable[..., object], *, given: Mapping[str, object]
) -> None:
    """Refuses arguments of another kind than the annotations of a function ask for.

    Numbers, truth values, words, parts, and lists of them; other annotations are not looked at.

    Raises:
        TypeError: with the argument, the kind that it needs and what came.
        ValueError: the same, for a number where a whole one is needed.

    Example:
        >>> def quantizer(size: int) -> None: ...
        >>> check_arguments("Quantizer", quantizer, given={"size": "8"})
        Traceback (most recent call last):
        TypeError: Quantizer: expected size to be a whole number; got '8'
    """
    for name, hint in _hints(function).items():
        if name in given and not _fits(given[name], hint):
            number = hint is int and isinstance(given[name], numbers.Real)
            kind = ValueError if number else TypeError
            raise kind(f"{owner}: expected {name} to be {_wanted(hint)}; got {_what(given[name])}")


MOST_DRAWS = 2**16
"""For each example: a made-up number in a saved model could ask for any memory."""


def check_draws(owner: str, draws: int, *, least: int = 1) -> None:
    """Checks a number of Monte Carlo draws.

    Raises:
        ValueError: if it is out of range.
    """
    if not least <= draws <= MOST_DRAWS:
        raise ValueError(f"{owner}: expected {least} to {MOST_DRAWS} draws, got {draws}")


@functools.cache
def _hints(function: Callable[..., object]) -> Mapping[str, Any]:
    """Annotations of the arguments that take one value."""
    try:
        hints = typing.get_type_hints(function)
    except NameError:  # a name that only type checkers import
        return {}
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return {p.name: hints[p.name] for p in parameters if p.name in hints and p.kind not in several}


def _fits(value: object, hint: Any) -> bool:
    origin, kinds = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, kind) for kind in kinds)
    if origin is typing.Literal:
        return isinstance(value, str) or value in kinds  # another word is refused by the class
    if origin in (Sequence, tuple):
        return _is_list(value) and all(_fits(part, kinds[0]) for part in value)
    if hint in (int, float):
        kind = numbers.Integral if hint is int else numbers.Real  # NumPy's, too
        return isinstance(value, kind) and not isinstance(value, bool)
    if isinstance(hint, type) and issubclass(hint, (bool, str, Part, types.NoneType)):
        return isinstance(value, hint)
    return True


def _is_list(value: object) -> TypeGuard[Iterable[object]]:
    ordered = isinstance(value, Iterable) and isinstance(value, Sized)
    return ordered and not isinstance(value, (str, bytes, Mapping, Set))


_PLAIN = {int: "a whole number", float: "a number", bool: "True or False", str: "a word"}


def _wanted(hint: Any) -> str:
    """A kind in words."""
    origin, kinds = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_wanted(kind) for kind in kinds if kind is not types.NoneType)
    if origin is typing.Literal:
        return " or ".join(map(repr, kinds))
    if origin in (Sequence, tuple):
        return f"a list, each {_wanted(kinds[0])}"
    return _PLAIN.get(hint) or _described(hint)


def _described(kind: type) -> str:
    """A part, with the first of the classes that derive from it as an example."""
    article = "an" if kind.__name__[0] in "AEIOU" else "a"
    made = [k.__name__ for k in kind.__subclasses__() if not inspect.isabstract(k)]
    like = f" such as {made[0]}(...)" if made else ", made with (...)"
    return f"{article} {kind.__name__}{like}"


def _what(value: object) -> str:
    """What came, in one line."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_what, value))}]"
    return type(value).__name__ if isinstance(value, Part) else repr(value)
