"""A page as Markdown, its pictures as files: for a repository, a wiki, a pull request."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from narrows.report.blocks import Block, Gallery, Passage, Passages, Picture, Sound, Strips
from narrows.report.images import labelled
from narrows.report.table import Table, format_cell

if TYPE_CHECKING:
    from narrows.report.page import Page

FOLDER = "figures"


def page(it: "Page", folder: Path) -> str:
    """The page as Markdown.

    Args:
        it: the page.
        folder: gets the pictures, named after their section.
    """
    taken: Counter[str] = Counter()
    lines = [f"# {plain(it.title)}", ""]
    for text in it.answer:
        lines += [paragraph(text), ""]
    if it.warnings:
        lines += ["Warnings:", "", *(f"- {paragraph(text)}" for text in it.warnings), ""]
    for section in it.sections:
        stem = slug(section.heading)

        def save(picture: Picture | Sound, stem: str = stem) -> str:
            taken[stem] += 1
            name = stem if taken[stem] == 1 else f"{stem}-{taken[stem]}"
            return f"{FOLDER}/{picture.save(folder / name).name}"

        lines += [f"## {plain(section.heading)}", ""]
        for block in section.blocks:
            lines += [*_lines(block, save), ""]
    lines += ["## Commands and versions", ""]
    lines += [f"    {line}" for line in "\n".join(it.commands).splitlines()]
    lines += ["", *(f"- {paragraph(f'{name}: {value}')}" for name, value in it.versions.items())]
    return "\n".join(lines).rstrip() + "\n"


def table(block: Table) -> str:
    """A table, its caption below it."""
    columns = block.columns
    rows = [[block.corner, *(column.title for column in columns.values())]]
    rows += [
        [label, *(format_cell(row.get(k), c.digits) for k, c in columns.items())]
        for label, row in block.rows.items()
    ]
    cells = [[plain(cell) for cell in row] for row in rows]
    for row, label in zip(cells[1:], block.rows, strict=True):
        row[0] = f"[{row[0]}]({block.links[label]})" if label in block.links else row[0]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    lines.insert(1, f"| --- |{' ---: |' * len(columns)}")
    caption = f"{plain(block.caption).rstrip('.')}. {block.note}".rstrip()
    return "\n".join([*lines, "", f"*{caption}*"])


def plain(text: str) -> str:
    """Text in one line, without characters that Markdown or HTML would read as their own."""
    return re.sub(r"([\\*_`\[\]<>&|~$])", r"\\\1", " ".join(text.split()))


def paragraph(text: str) -> str:
    """Text as a paragraph: one that begins like a heading or a list is none."""
    return re.sub(r"^(\d*)([#+=.)-])", r"\1\\\2", plain(text))


def slug(heading: str) -> str:
    """Lower-case letters, digits and hyphens: for ids and file names."""
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-") or "section"


def _marked(passage: Passage) -> str:
    """A passage in which the strongest tokens are bold."""
    parts = [
        f" **{plain(token)}**" if level == 4 else " " * token.startswith(" ") + plain(token)
        for token, level in passage.marked
    ]
    return "".join(parts).strip()


def _lines(block: Block | str, save: Callable[[Picture | Sound], str]) -> list[str]:
    if isinstance(block, str):
        return [paragraph(block)]
    if isinstance(block, Table):
        return table(block).splitlines()
    if isinstance(block, Gallery):
        return [line for one in block.blocks for line in (*_lines(one, save), "")]
    if isinstance(block, Strips):
        block = labelled(block)
    if isinstance(block, Sound):
        return [*_lines(block.picture, save), "", f"[Play]({save(block)})"]
    if isinstance(block, Passages):
        lines = [f"- {plain(one.label)}: {_marked(one)}" for one in block.rows]
        return [*lines, "", f"*{plain(block.caption)}*"]
    if isinstance(block, Picture):
        return [f"![{plain(block.alt)}]({save(block)})", "", f"*{plain(block.caption)}*"]
    raise TypeError(f"there is no Markdown for {type(block).__name__}")
