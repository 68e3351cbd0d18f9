"""jsonargparse parsers that are strict, and suggest what was meant."""

import argparse
import difflib
import inspect
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import yaml
from jsonargparse import ArgumentParser, Namespace

from narrows.cli.main import UsageError


def parser(command: str, description: str) -> ArgumentParser:
    """A strict parser for one command."""
    return ArgumentParser(
        prog=f"narrows {command}",
        description=description,
        exit_on_error=False,
        allow_abbrev=False,
    )


def parse(parser: ArgumentParser, arguments: Sequence[str]) -> Namespace:
    """Parses; `--help` and `--print_config` print and leave with exit code 0.

    Raises:
        UsageError: in one sentence, with the option that was probably meant.
    """
    try:
        return parser.parse_args(list(arguments))
    except argparse.ArgumentError as error:
        text = re.sub(r"\s+", " ", str(error)).strip()
        raise UsageError(f"{text}{_meant(text, _options(parser, arguments))}") from error


def instantiate(parser: ArgumentParser, config: Namespace) -> Namespace:
    """Makes the objects that a parsed configuration describes."""
    # jsonargparse 4.5x renamed the method; the ranges in pyproject.toml admit both.
    make = getattr(parser, "instantiate", None) or parser.instantiate_classes
    made = make(config)
    assert isinstance(made, Namespace)
    return made


def values(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Free-form options with their words read as YAML: "5" is the number 5."""
    given = dict(options or {})
    return {k: yaml.safe_load(v) if isinstance(v, str) else v for k, v in given.items()}


def _options(parser: ArgumentParser, arguments: Sequence[str]) -> list[str]:
    """The options of the parser, and of the classes that the recipe has chosen."""
    names = [name for name in parser._option_string_actions if name.startswith("--")]
    return names + [word.partition("=")[0] for word in arguments if word.startswith("--")]


def _meant(text: str, options: Sequence[str]) -> str:
    unknown = re.findall(r"(--[\w.-]+)", " ".join(re.findall(r"[Uu]nrecognized .*", text)))
    unknown += [f"--{name}" for name in re.findall(r"[Kk]ey ['\"]([\w.]+)['\"] is not", text)]
    known = [option for option in options if option not in unknown]
    pairs = [(word, known) for word in unknown]
    for path, word in re.findall(r"class_path '([\w.]+)'.*Option '(\w+)' is not", text):
        pairs.append((word, _arguments(path)))
    for word, choices in pairs:
        near = difflib.get_close_matches(word, choices, 1, 0.5)
        if near:
            return f"; did you mean {near[0]}?"
    return ""


def _arguments(class_path: str) -> list[str]:
    """The constructor's arguments of a class that jsonargparse has found already."""
    module, _, name = class_path.rpartition(".")
    return list(inspect.signature(getattr(import_module(module), name)).parameters)
