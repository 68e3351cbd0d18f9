"""Objects that remember how they were made, so that a run folder can make them again."""

import dataclasses
import functools
import importlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from narrows.saving.arguments import Part, check_arguments

FORMAT = 2
"""Of model.json and config.yaml; narrows 0.1.0 wrote none."""


class Recorded(Part):
    """Remembers the arguments of its construction.

    `spec(obj)` gives `{"class_path": ..., "init_args": {...}}`, the form that jsonargparse
    reads, and `build(spec)` makes an equal object. Weights are not part of it. A dataclass may
    derive from it too; its fields are its arguments.
    """

    @property
    def _arguments(self) -> Mapping[str, object]:
        """What the object was made with."""
        recorded: Mapping[str, object] | None = self.__dict__.get("_recorded")
        if recorded is None and dataclasses.is_dataclass(self):
            recorded = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return recorded or {}

    def __post_init__(self) -> None:
        """Of dataclasses: NumPy scalars become numbers before a class checks its fields."""
        for field in dataclasses.fields(self):  # pyright: ignore[reportArgumentType]
            object.__setattr__(self, field.name, plain_numbers(getattr(self, field.name)))
        check_arguments(type(self).__name__, type(self).__init__, given=self.__dict__)

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if "__post_init__" in cls.__dict__:
            check = cls.__dict__["__post_init__"]

            def post_init(self: Any) -> None:
                Recorded.__post_init__(self)
                check(self)

            type.__setattr__(cls, "__post_init__", post_init)
        if "__init__" not in cls.__dict__:
            return
        original = cls.__dict__["__init__"]
        signature = inspect.signature(original)

        @functools.wraps(original)
        def init(self: Recorded, *args: object, **kwargs: object) -> None:
            args = tuple(map(plain_numbers, args))
            kwargs = {name: plain_numbers(value) for name, value in kwargs.items()}
            if "_recorded" not in self.__dict__:  # the outermost class is what the user made
                bound = signature.bind(self, *args, **kwargs)
                bound.apply_defaults()  # so that a later default does not change an old run
                check_arguments(type(self).__name__, original, given=bound.arguments)
                # __dict__ directly: a Module's __setattr__ is not ready before its __init__.
                self.__dict__["_recorded"] = dict(list(bound.arguments.items())[1:])
            original(self, *args, **kwargs)

        # Not `cls.__init__ = init`, which would hide the signature from type checkers.
        type.__setattr__(cls, "__init__", init)

    def extra_repr(self) -> str:
        """The arguments that are not the defaults, in one line; what PyTorch's modules print."""
        parameters = inspect.signature(type(self)).parameters
        shown = []
        for name, value in self._arguments.items():
            text = repr(value)  # of a part that is a module several lines, printed below as a child
            if "\n" not in text and text != repr(parameters[name].default):
                shown.append(f"{name}={text}")
        return ", ".join(shown)

    def __repr__(self) -> str:
        above = super()
        if hasattr(above, "extra_repr"):  # a module, whose own way of printing asks for it
            return above.__repr__()
        return f"{type(self).__name__}({self.extra_repr()})"


def plain_numbers(value: Any) -> Any:
    """The value with NumPy scalars, and short arrays such as shapes, as Python's numbers."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.size <= 16):
        return value.tolist()
    if type(value) is list:
        return [plain_numbers(part) for part in value]
    if type(value) is tuple:
        return tuple(plain_numbers(part) for part in value)
    if type(value) is dict:
        return {plain_numbers(key): plain_numbers(part) for key, part in value.items()}
    return value


def spec(value: object) -> Any:
    """Describes an object made of `Recorded` parts and plain values as plain data.

    Raises:
        TypeError: if a part is neither plain nor `Recorded`.
    """
    value = plain_numbers(value)
    if isinstance(value, Recorded):
        return {
            "class_path": public_path(type(value)),
            "init_args": {name: spec(part) for name, part in value._arguments.items()},
        }
    if isinstance(value, (list, tuple)):
        return [spec(part) for part in value]
    if isinstance(value, Mapping):
        return {str(key): spec(part) for key, part in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(
        f"cannot describe {type(value).__name__} {value!r}: constructor arguments must be plain "
        "values or narrows' own parts; derive the class from narrows.recorded.Recorded"
    )


def public_path(kind: type) -> str:
    """The shortest path from which a class can be imported, such as `narrows.bottlenecks.OMP`.

    Files may move within a package; what a package exports keeps its path.
    """
    parts = kind.__module__.split(".")
    for depth in range(1, len(parts)):
        package = ".".join(parts[:depth])
        module = sys.modules.get(package)
        if module is not None and vars(module).get(kind.__qualname__) is kind:
            return f"{package}.{kind.__qualname__}"
    return f"{kind.__module__}.{kind.__qualname__}"


def check_format(content: Mapping[str, object], path: Path) -> None:
    """Refuses a model or configuration that another version of narrows wrote.

    Raises:
        ValueError: with the versions that read it.
    """
    found = content.get("format")
    if found == FORMAT:
        return
    if found is None:
        raise ValueError(
            f"{path} was written by narrows 0.1.0, whose parts had other names and arguments; "
            "read it with narrows 0.1.0, or train the model again with this version"
        )
    raise ValueError(
        f"{path} has format {found!r}, and this version of narrows reads format {FORMAT}; "
        "install the version that wrote it"
    )


def class_at(path: str) -> "type[Recorded]":
    """The class of a class path such as `narrows.bottlenecks.VectorQuantizer`.

    Raises:
        ValueError: if there is no such class, or it is not a `Recorded` one.
    """
    module, _, name = path.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), name, None) if module else None
    except ImportError as error:
        raise ValueError(f"cannot import {module} for {path!r}: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, Recorded)):
        raise ValueError(
            "expected the path of a narrows part such as narrows.bottlenecks.VectorQuantizer, got "
            f"{path!r}; correct class_path"
        )
    return kind


def build(value: object) -> Any:
    """Makes what `spec` described.

    Raises:
        ValueError: if a class path names something that is not a `Recorded` class.
    """
    if isinstance(value, Mapping) and "class_path" in value:
        kind = class_at(value["class_path"])
        return kind(**{key: build(part) for key, part in (value.get("init_args") or {}).items()})
    if isinstance(value, Mapping):
        return {key: build(part) for key, part in value.items()}
    if isinstance(value, list):
        return [build(part) for part in value]
    return value
