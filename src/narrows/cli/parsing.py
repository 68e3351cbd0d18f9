"""jsonargparse parsers that are strict, and suggest what was meant."""

import argparse
import difflib
import inspect
import itertools
import re
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace

from narrows.cli.main import UsageError
from narrows.recorded import class_at
from narrows.saving.writing import read_yaml


class Help(DefaultHelpFormatter):
    """Paragraphs and tables of a description stay; plain options show their default alone."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        blocks = [
            block if "  " in block else textwrap.fill(block, width)
            for block in text.strip().split("\n\n")
        ]
        return textwrap.indent("\n\n".join(blocks), indent)

    def _get_help_string(self, action: argparse.Action) -> str:
        flag = action.nargs == 0 and action.const is True
        kind = getattr(action, "_typehint", action.type)  # of jsonargparse's own actions
        if not (flag or kind in _PLAIN or action.choices):
            return super()._get_help_string(action)
        words = action.help or ""
        empty = action.default == {} or any(action.default is one for one in _EMPTY)
        return words if empty else f"{words} (default: %(default)s)".lstrip()


_PLAIN = (str, int, float, bool, dict)
_EMPTY = (None, False, argparse.SUPPRESS)


def parser(command: str, description: str) -> ArgumentParser:
    """A strict parser for one command."""
    return ArgumentParser(
        prog=f"narrows {command}",
        description=description,
        epilog="--debug shows the traceback of an error; --trust MODULE lets the folder of a model "
        "or run name parts of a module of yours (may be repeated)",
        formatter_class=Help,
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
        raise UsageError(f"{_plain(text)}{_meant(text, _options(parser, arguments))}") from error


def _plain(text: str) -> str:
    """A parser's message without the names that Python has for optional parts."""
    text = re.sub(r"Does not validate against any of the Union subtypes.*?Errors: - ", "", text)
    text = re.sub(r" - Expected a <class 'NoneType'>.*?Given value: .*$", "", text)
    text = re.sub(r"<class '(?:[\w.]+\.)?(\w+)'>", r"\1", text)
    text = re.sub(r"a typing\.Literal\[(.*?)\]", r"one of \1", text)
    text = re.sub(r"Given value type: .*$", "", text).replace("Parser key ", "").strip()
    path = r"(?:Expected a dot import path string|Unexpected import path format): (.*)$"
    shown = r"expected the path of a class, got \1; --print_config shows what stands there"
    text = re.sub(path, shown, text)
    abstract = r"Expected an instantiatable class, but [\w.]+ is abstract"
    return re.sub(abstract, "it names no class; give its class_path first", text)


_RECIPE = {
    "model", "fit", "data", "data_root", "data_options", "out", "format", "config", "checksum",
}  # fmt: skip
_PART = {"class_path", "init_args", "dict_kwargs"}


def check_recipe(path: Path, sections: Mapping[str, Collection[str]]) -> None:
    """Refuses a file that is not a recipe, and keys that nothing reads.

    Args:
        path: of the recipe.
        sections: the keys of `model` and of `fit`.

    Raises:
        ValueError: with the file, the key, and what was probably meant.
    """
    remedy = "a recipe has `model:` and in it `bottleneck:`; see narrows train vq --print_config"
    content = read_yaml(path, remedy)
    if not any(key.partition(".")[0] == "model" for key in content):
        raise ValueError(f"{path} describes no model: {remedy}")
    _check_keys(content, _RECIPE, f"{path}")
    for name, keys in sections.items():
        section = content.get(name)
        if isinstance(section, Mapping):
            _check_keys(section, keys, f"{path}: {name}")
            _check_parts(section, f"{path}: {name}")


def _check_parts(tree: object, place: str) -> None:
    """Checks the keys of every part below a place that has a class path."""
    if isinstance(tree, list):
        for part in tree:
            _check_parts(part, place)
    if not isinstance(tree, Mapping):
        return
    if "class_path" in tree or "init_args" in tree:
        _check_keys(tree, _PART, place)
        known, given = _parameters(str(tree.get("class_path"))), tree.get("init_args")
        if known and isinstance(given, Mapping):
            _check_keys(given, known, f"{place}.init_args")
    for key, part in tree.items():
        _check_parts(part, f"{place}.{key}")


def _parameters(class_path: str) -> list[str]:
    """The arguments of a class; none if there is no such class, or it takes any."""
    try:
        known = inspect.signature(class_at(class_path)).parameters.values()
    except (ValueError, TypeError):
        return []
    return [] if any(p.kind is p.VAR_KEYWORD for p in known) else [p.name for p in known]


def _check_keys(tree: Mapping[str, object], known: Collection[str], place: str) -> None:
    for key in tree:
        if str(key).rstrip("+").partition(".")[0] not in known:
            near = difflib.get_close_matches(str(key), known, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
            if set(known) == _PART and not near:
                hint = "arguments of a class stand below init_args"
            raise ValueError(f"{place} has no key {key!r}; {hint}")


def instantiate(parser: ArgumentParser, config: Namespace) -> Namespace:
    """Makes the objects that a parsed configuration describes."""
    # jsonargparse 4.5x renamed the method; the ranges in pyproject.toml admit both.
    make = getattr(parser, "instantiate", None) or parser.instantiate_classes
    made = make(config)
    assert isinstance(made, Namespace)
    return made


def named(option: str, words: Sequence[str]) -> str:
    """The last value that words give to an option; "" if none do."""
    found = ""
    for word, after in itertools.zip_longest(words, words[1:], fillvalue=""):
        name, equals, value = word.partition("=")
        if name == option:
            found = value if equals else after
    return found


def values(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Free-form options with their words read as YAML: "5" is the number 5."""
    given = dict(options or {})
    return {k: yaml.safe_load(v) if isinstance(v, str) else v for k, v in given.items()}


def _options(parser: ArgumentParser, arguments: Sequence[str]) -> list[str]:
    """The options of the parser, and of the classes that the recipe has chosen."""
    from narrows.cli.recipes import SHORT  # which imports this module

    names = [name for name in parser._option_string_actions if name.startswith("--")]
    takes = {"--fit.epochs", "--set"} & {*names}
    short = [name for name in SHORT if takes]
    return names + short + [word.partition("=")[0] for word in arguments if word.startswith("--")]


def _meant(text: str, options: Sequence[str]) -> str:
    unknown = re.findall(r"(--[\w.-]+)", " ".join(re.findall(r"[Uu]nrecognized .*", text)))
    unknown += [f"--{name}" for name in re.findall(r"[Kk]ey ['\"]([\w.]+)['\"] is not", text)]
    known = [option for option in options if option not in unknown]
    pairs = [(word, known) for word in unknown]
    # The last class named before the option is the one that does not take it.
    module = r"module '([\w.]+)' has no attribute '(\w+)'"
    pairs += [(word, dir(import_module(name))) for name, word in re.findall(module, text)]
    innermost = r"class_path '([\w.]+)'(?:(?!class_path).)*Option '(\w+)' is not"
    pairs += [(word, _arguments(path)) for path, word in re.findall(innermost, text)]
    near = filter(None, (nearest(word, choices) for word, choices in pairs))
    hint = "; --help lists the options" if unknown else ""
    return next((f"; did you mean {name}?" for name in near), hint)


_ELSEWHERE = {
    "gpus": "devices", "output_dir": "out", "output": "out", "folder": "out", "steps": "epochs",
    "num_workers": "workers", "dataset": "data", "random_state": "seed", "device": "devices",
    "step_size": "learning_rate", "batch": "batch_size", "epoch": "epochs",
}  # fmt: skip
"""What other programs call some of our options."""


def nearest(word: str, choices: Collection[str]) -> str:
    """The name that was meant by a wrong one, or "".

    Of one below another (`--fit.epochz`) among those beside it. In this order: the end of a longer
    name, what other programs call it, its initials (`lr`), a name that it is a part of, and the
    most alike.

    Args:
        word: as it was given, such as `--lr`.
        choices: names as they are given, such as `--fit.optimization.learning_rate`.
    """
    plain = _last(word).removeprefix("num_").removeprefix("n_").removeprefix("max_")
    beside = [c for c in choices if c.rpartition(".")[0] == word.rpartition(".")[0]]
    choices = beside if "." in word and beside else choices
    short = sorted((c for c in choices if c != "--help"), key=lambda c: (c.count("."), len(c)))
    wanted = (plain, _last(word), _ELSEWHERE.get(_last(word)), _ELSEWHERE.get(plain))
    rules = (
        lambda last: last in wanted,
        lambda last: "_" in last and "".join(part[0] for part in last.split("_") if part) == plain,
        lambda last: len(plain) > 2 and (last.startswith(plain) or plain.startswith(last + "_")),
    )
    for fits in rules:
        found = next((choice for choice in short if fits(_last(choice))), "")
        if found:
            return found
    ends = {_last(choice): choice for choice in reversed(short)}
    near = difflib.get_close_matches(plain, ends, 1, 0.6)
    return ends[near[0]] if near else ""


def _last(name: str) -> str:
    return name.rpartition(".")[2].removeprefix("--").replace("-", "_").lower()


def _arguments(class_path: str) -> list[str]:
    """The constructor's arguments of a class, and those of the options that it groups."""
    module, _, name = class_path.rpartition(".")
    found = []
    for parameter in inspect.signature(getattr(import_module(module), name)).parameters.values():
        found.append(parameter.name)
        if is_dataclass(parameter.default):
            found += [f"{parameter.name}.{option.name}" for option in fields(parameter.default)]
    return found
