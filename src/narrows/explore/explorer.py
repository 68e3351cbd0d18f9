"""What the page asks for, as functions of plain data: each takes and gives what JSON can hold."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from narrows.codes import Code
from narrows.explore import edits
from narrows.explore.examples import Examples
from narrows.explore.subject import Json, Subject
from narrows.explore.wire import from_wire, to_changes

Given: TypeAlias = Mapping[str, object]
STRIP = 48
"""Test examples that are shown at a time."""


class Explorer:
    """The models side by side, and the examples that they are shown.

    Args:
        title: what the page is called: the data.
        subjects: the models, side by side.
        examples: what they are shown.
    """

    def __init__(self, title: str, subjects: Sequence[Subject], examples: Examples) -> None:
        self.title, self.subjects, self.examples = title, list(subjects), examples

    def about(self, _given: Given) -> Json:
        """The data and the models."""
        display = self.examples.display
        return {
            "title": self.title, "kind": display.kind, "shape": display.shape,
            "count": len(self.examples), "files": self.examples.takes_files,
            "models": [subject.describe() for subject in self.subjects],
        }  # fmt: skip

    def strip(self, given: Given) -> Json:
        """Some test examples from a row on."""
        start = _number(given, "start", 0, len(self.examples) - 1)
        rows = range(start, min(start + STRIP, len(self.examples)))
        return {"examples": [self._shown(f"test-{row}") for row in rows]}

    def encode(self, given: Given) -> Json:
        """An example, and its code under every model."""
        name = str(given.get("example"))
        x = self.examples.find(name)
        found = [subject.encoded(x) for subject in self.subjects]
        return {**self._shown(name), "models": found}

    def change(self, given: Given) -> Json:
        """A code with some numbers replaced, and what it decodes to."""
        subject, code = self._subject(given), self._code(given)
        for change in to_changes(given.get("changes")):
            code = edits.changed(subject.space, code, change=change)
        return self._show(given, code)

    def price(self, given: Given) -> Json:
        """What a code takes in a file."""
        return self._subject(given).price(self._code(given))

    def palette(self, given: Given) -> Json:
        """What could stand at a place of a code."""
        part, page = _number(given, "part", 0, 1 << 20), _number(given, "page", 0, 1 << 20)
        site = _place(given.get("site"))
        return self._subject(given).palette(self._code(given), part=part, site=site, page=page)

    def between(self, given: Given) -> Json:
        """The point between the codes of two examples."""
        subject, t = self._subject(given), _real(given, "t", 0, 1)
        a, b = (subject.model.encode(self.examples.find(given.get(end))[None]) for end in "ab")
        return subject.show(edits.between(subject.space, a, b=b, t=t))

    def draw(self, given: Given) -> Json:
        """A draw from the prior."""
        temperature = _real(given, "temperature", 0.01, 100)
        seed = _number(given, "seed", 0, 1 << 31)
        subject = self._subject(given)
        return subject.show(subject.draw(seed=seed, temperature=temperature))

    def complete(self, given: Given) -> Json:
        """A code whose missing sites the prior draws anew."""
        listed = given.get("missing")
        missing = [_place(site) for site in listed] if isinstance(listed, list) else []
        seed = _number(given, "seed", 0, 1 << 31)
        code = self._subject(given).completed(self._code(given), seed=seed, missing=missing)
        return self._show(given, code)

    def take(self, content: bytes) -> Json:
        """Keeps a drawn or dropped example."""
        return self._shown(self.examples.take(content))

    def features(self, model: int) -> Path | None:
        """The page that `narrows features` wrote about a run, if there is one."""
        folder = self.subjects[model].folder if model < len(self.subjects) else None
        path = folder and folder / "features.html"
        return path if path and path.is_file() else None

    def _subject(self, given: Given) -> Subject:
        return self.subjects[_number(given, "model", 0, len(self.subjects) - 1)]

    def _code(self, given: Given) -> Code:
        subject = self._subject(given)
        return from_wire(subject.space, subject.model.sites, given.get("code"))

    def _show(self, given: Given, code: Code) -> Json:
        name = given.get("example")
        return self._subject(given).show(code, None if name is None else self.examples.find(name))

    def _shown(self, name: str) -> Json:
        label = self.examples.label(int(name[5:])) if name.startswith("test-") else ""
        shown = self.examples.display.example(self.examples.find(name))
        return {"name": name, "label": label, "shown": shown}


def _number(given: Given, name: str, low: int, high: int) -> int:
    """A whole number of a request, 0 by default."""
    value = given.get(name, 0)
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"expected {name} as a whole number in {low}..{high}, got {value!r:.40}")
    return value


def _real(given: Given, name: str, low: float, high: float) -> float:
    value = given.get(name)
    if not isinstance(value, (int, float)) or not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"expected {name} in [{low}, {high}], got {value!r:.40}")
    return float(value)


def _place(given: object) -> tuple[int, ...]:
    """A site of a request."""
    if not isinstance(given, list) or any(type(one) is not int for one in given):
        raise ValueError("expected a site as a list of whole numbers")
    return tuple(given)
