"""Pages whose figures come from the ledger: prose by hand, tables and numbers by functions."""

import importlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from narrows.report import Section, Table
from narrows.report.markdown import paragraph, table

ROOT = Path(__file__).parents[1]
MARK = re.compile(
    r"(?P<head><!-- evidence: (?P<module>\w+)\.(?P<function>\w+)(?P<arguments>(?: \w+=\S+)*) -->)"
    r".*?(?P<tail><!-- end -->)",
    re.DOTALL,
)


def pages() -> Iterator[Path]:
    """README and every page of docs that has a marker."""
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        if MARK.search(path.read_text(encoding="utf-8")):
            yield path


def filled(text: str) -> str:
    """The text with what stands between markers made anew.

    `<!-- evidence: MODULE.FUNCTION NAME=VALUE ... -->` calls the function of `evidence.MODULE`
    with these values as words; its result is a text in a line, or lines of their own.

    Raises:
        ValueError: if there is no such function, or a marker has no end.
    """
    return MARK.sub(_made, text)


def _made(mark: re.Match[str]) -> str:
    words = dict(word.split("=", 1) for word in mark["arguments"].split())
    try:
        function = getattr(importlib.import_module(f"evidence.{mark['module']}"), mark["function"])
    except (ImportError, AttributeError):
        raise ValueError(f"there is no function for {mark['head']}") from None
    made = function(**words)
    own_lines = made.startswith(("|", "#")) or "\n\n" in made
    return mark["head"] + (f"\n{made}\n" if own_lines else made) + mark["tail"]


def markdown(sections: Sequence[Section]) -> str:
    """Headings, paragraphs and tables; pictures are left out."""
    lines = []
    for section in sections:
        lines += [f"## {section.heading}", ""]
        for block in section.blocks:
            if isinstance(block, str):
                lines += [paragraph(block), ""]
            elif isinstance(block, Table):
                lines += [table(block), ""]
    return "\n".join(lines).strip()


def grid(head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = False) -> str:
    """Cells as a table.

    Args:
        head: of the columns.
        rows: their cells.
        numbers: aligned right, all columns but the first.
    """
    lines = [head, ["---", *["---:" if numbers else "---"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
