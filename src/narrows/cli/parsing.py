"""jsonargparse parsers that are strict, and suggest what was meant."""

import difflib
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace

from narrows.cli.main import UsageError


class Parser(ArgumentParser):
    """A strict parser whose errors are one sentence with a suggestion."""

    def __init__(self, command: str, **kwargs: Any) -> None:
        super().__init__(prog=f"narrows {command}", **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises `UsageError` in place of printing usage and exiting."""
        text = re.sub(r"\s+", " ", str(message)).strip()
        for word in self._unknown(text):
            near = difflib.get_close_matches(word, self._names(), 1, 0.5)
            if near:
                text = f"{text}; did you mean {near[0]}?"
        raise UsageError(f"{text} (`{self.prog} --help` lists the options)") from ex

    def _names(self) -> list[str]:
        return [name for name in self._option_string_actions if name.startswith("--")]

    def _unknown(self, text: str) -> list[str]:
        found = re.findall(r"[Uu]nrecognized arguments:? (.*)", text)
        words = [word for part in found for word in part.split() if word.startswith("--")]
        for pattern in (r"[Kk]ey ['\"]?([\w.]+)['\"]? is not expected", r"no key ['\"]([\w.]+)"):
            words += [f"--{name}" for name in re.findall(pattern, text)]
        return [word.partition("=")[0] for word in words]


def parse(parser: Parser, arguments: Sequence[str]) -> Namespace:
    """Parses; `--help` and `--print_config` print and leave with exit code 0."""
    return parser.parse_args(list(arguments))
