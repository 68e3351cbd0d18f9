"""The page as Markdown, its pictures as files: for a repository, a wiki, a pull request."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from narrows.report.blocks import Block, Code, Gallery, Picture, Strips, Text, Warnings
from narrows.report.images import labelled
from narrows.report.page import Section
from narrows.report.table import Table, format_cell

FOLDER = "figures"


def write(
    path: str | Path,
    title: str,
    answer: str | Sequence[str],
    sections: Sequence[Section],
    *,
    warnings: Sequence[str] = (),
    commands: Sequence[str] = (),
    versions: Mapping[str, object] | None = None,
) -> Path:
    """Writes what `page.write` writes as one Markdown file and a folder `figures` beside it.

    Args:
        path: of the Markdown file.
        title: of the page.
        answer: what was found, one paragraph each.
        sections: what it rests on.
        warnings: what looks wrong.
        commands: what to type to get it again.
        versions: name -> value.

    Returns:
        The path.
    """
    path = Path(path)
    folder = path.parent / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    answers = [answer] if isinstance(answer, str) else answer
    lines = [f"# {title}", "", *(line for text in answers for line in (_plain(text), ""))]
    lines += [*_lines(Warnings(warnings), folder, iter(())), ""] if warnings else []
    for section in sections:
        names = _names(section.heading)
        lines += [f"## {section.heading}", ""]
        for block in section.blocks:
            lines += [*_lines(block, folder, names), ""]
    lines += ["## Commands and versions", ""]
    lines += [*_lines(Code("\n".join(commands)), folder, iter(())), ""] if commands else []
    lines += [f"- {name}: {value}" for name, value in (versions or {}).items()]
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return path


def _lines(block: Block | str, folder: Path, names: Iterator[str]) -> list[str]:
    """A block as Markdown; its pictures are written to the folder under the next names."""
    if isinstance(block, str):
        return [_plain(block)]
    if isinstance(block, Text):
        return [_plain(block.text)]
    if isinstance(block, Code):
        return [f"    {line}" for line in block.text.splitlines()]
    if isinstance(block, Warnings):
        return ["Warnings:", "", *(f"- {_plain(sentence)}" for sentence in block.sentences)]
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Gallery):
        return [line for one in block.blocks for line in (*_lines(one, folder, names), "")]
    if isinstance(block, Strips):
        block = labelled(block)
    if isinstance(block, Picture):
        file = block.save(folder / next(names))
        return [f"![{_plain(block.alt)}]({FOLDER}/{file.name})", "", f"*{_plain(block.caption)}*"]
    raise TypeError(f"there is no Markdown for {type(block).__name__}")


def _table(table: Table) -> list[str]:
    def title(name: str, unit: str) -> str:
        return _cell(f"{name} [{unit}]" if unit else name)

    head = [table.corner, *(title(c.name, c.unit) for c in table.columns.values())]
    rows = [
        [
            _cell(label),
            *(_cell(format_cell(row.get(k), c.digits)) for k, c in table.columns.items()),
        ]
        for label, row in table.rows.items()
    ]
    lines = [head, ["---", *["---:"] * len(table.columns)], *rows]
    return [
        *(f"| {' | '.join(line)} |" for line in lines),
        "",
        f"*{_plain(table.caption).rstrip('.')}. {table.note()}".rstrip() + "*",
    ]


def _plain(text: str) -> str:
    """Text without characters that Markdown would read as its own."""
    return re.sub(r"([*_`\[\]<>])", r"\\\1", text)


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def _names(heading: str) -> Iterator[str]:
    """reconstructions, reconstructions-2, ...: stems of the files of a section."""
    stem = re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")
    yield stem
    number = 1
    while True:
        number += 1
        yield f"{stem}-{number}"
