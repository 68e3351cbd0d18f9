"""One page, the answer first, then what it rests on: as HTML or as Markdown."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

import jinja2
from markupsafe import Markup

from narrows.report import markdown, theme
from narrows.report.blocks import Section
from narrows.report.table import format_cell
from narrows.saving.writing import write_text


@dataclass(frozen=True)
class Page:
    """What a page says.

    Attributes:
        title: of the page.
        answer: what was found, in plain words, one paragraph each; it stands first.
        sections: what it rests on.
        warnings: what looks wrong; failed runs belong here.
        commands: what to type to get this page again.
        versions: name -> value, of what made it.
    """

    title: str
    answer: Sequence[str]
    sections: Sequence[Section]
    warnings: Sequence[str] = ()
    commands: Sequence[str] = ()
    versions: Mapping[str, object] = field(default_factory=dict)

    @property
    def versions_text(self) -> str:
        """The versions, one a line."""
        return "\n".join(f"{name}: {value}" for name, value in self.versions.items())

    def html(self) -> str:
        """The page as HTML that needs nothing but itself.

        No outside request and no script but its own, which sorts tables and enlarges pictures
        (a content policy forbids all else); light and dark as the reader prefers, readable by
        keyboard, by screen reader, on paper and on a telephone.
        """
        light, dark = theme.variables(dark=False), theme.variables(dark=True)
        script = files("narrows.report").joinpath("page.js").read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        return _template().render(
            it=self, light=light, dark=dark, script=Markup(script), hash=f"sha256-{digest}"
        )

    def write(self, path: str | Path) -> Path:
        """Writes the page, whole or not at all.

        Args:
            path: `*.html`, or `*.md`, which gets its pictures in a folder `figures` beside it.

        Returns:
            The path.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            pictures = path.parent / markdown.FOLDER
            pictures.mkdir(exist_ok=True)
            write_text(path, markdown.page(self, pictures))
        else:
            write_text(path, self.html())
        return path


@cache
def _template() -> jinja2.Template:
    """`page.html`, in which all text is escaped."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"cell": format_cell, "slug": markdown.slug}
    source = files("narrows.report").joinpath("page.html").read_text(encoding="utf-8")
    return environment.from_string(source)
