"""One self-contained page: the answer first, then what it rests on."""

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from narrows.report import theme
from narrows.report.blocks import Block, Code, Text, Warnings

_STYLE = """
:root { color-scheme: light dark; %(light)s }
@media (prefers-color-scheme: dark) { :root { %(dark)s } }
@media print { :root { %(light)s } nav, .skip { display: none } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 72rem; padding: 1rem clamp(.75rem, 3vw, 2rem) 3rem;
  background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0 1rem }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; border-top: 1px solid var(--lines);
  padding-top: 1rem; break-after: avoid }
p, li, figcaption, caption { max-width: 44rem; overflow-wrap: anywhere }
.answer { border-left: 4px solid var(--series-1); padding: .1rem 0 .1rem 1rem;
  font-size: 1.1rem }
.warnings { border-left: 4px solid var(--series-2); padding: .1rem 0 .1rem 1rem; margin: 1rem 0 }
a { color: var(--series-1) } :focus-visible { outline: 3px solid var(--series-1) }
nav ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem }
.skip { position: absolute; left: -100rem } .skip:focus { position: static }
.gallery { display: grid; gap: 1.2rem;
  grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%%), 1fr)) }
.gallery.small { grid-template-columns: repeat(auto-fit, minmax(min(14rem, 45%%), 1fr)) }
figure { margin: 0 0 1rem; break-inside: avoid; min-width: 0; max-width: 36rem }
figure.wide { max-width: none }
figcaption, caption { color: var(--muted); font-size: .9rem; text-align: left; padding: .3rem 0 }
caption { position: sticky; left: 0; max-width: min(44rem, calc(100vw - 2rem)) }
svg.figure { width: 100%%; height: auto; display: block; overflow: visible }
.pixels { display: block; width: 100%%; height: auto; image-rendering: pixelated }
.scroll { overflow-x: auto; margin-bottom: 1rem }
.strip { display: grid; grid-template-columns: 7.5rem minmax(22rem, 1fr); align-items: center;
  gap: .6rem; margin-bottom: .3rem }
.strip .label { position: sticky; left: 0; background: var(--paper); font-size: .9rem;
  overflow-wrap: anywhere }
.strip .pixels { max-width: 60rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem;
  min-width: min(34rem, 100%%) }
th, td { padding: .3rem .55rem; border-bottom: 1px solid var(--lines); text-align: left;
  vertical-align: top }
thead th { border-bottom: 2px solid var(--muted) }
tbody th { font-weight: 600; white-space: nowrap }
td.number, th.number { text-align: right } td.number { white-space: nowrap }
td.words { min-width: 12rem }
.unit { display: block; font-weight: 400; font-size: .8rem; color: var(--muted) }
pre { overflow-x: auto; padding: .7rem; border: 1px solid var(--lines); border-radius: .3rem;
  font-size: .85rem }
@media (max-width: 40rem) { .strip { grid-template-columns: 1fr; gap: .1rem }
  .strip .label { position: static } td.words { min-width: 9rem }
  tbody th { white-space: normal } }
@media print { .scroll { overflow: visible } body { max-width: none; background: white }
  table { font-size: .75rem } th, td { padding: .2rem .4rem } pre { white-space: pre-wrap } }
"""


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it.

    Attributes:
        heading: shown, and listed at the top of the page.
        blocks: in order; a plain string is a paragraph.
    """

    heading: str
    blocks: Sequence[Block | str] = field(default_factory=list)


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
    """Writes a page that needs nothing but itself, whole or not at all.

    No script, no outside request (a content policy forbids them), light and dark as the reader
    prefers, readable by keyboard, by screen reader, on paper and on a telephone.

    Args:
        path: file to write.
        title: of the page.
        answer: what was found, in plain words, one paragraph each; it stands first.
        sections: what it rests on.
        warnings: what looks wrong; failed runs belong here.
        commands: what to type to get this page again.
        versions: name -> value, of what made it.

    Returns:
        The path.
    """
    page = render(title, answer, sections, warnings=warnings, commands=commands, versions=versions)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(page)
        Path(partial).chmod(0o644)  # mkstemp makes files that only their owner reads
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    return path


def render(
    title: str,
    answer: str | Sequence[str],
    sections: Sequence[Section],
    *,
    warnings: Sequence[str] = (),
    commands: Sequence[str] = (),
    versions: Mapping[str, object] | None = None,
) -> str:
    """The page of `write` as text."""
    answers = [answer] if isinstance(answer, str) else answer
    sections = [*sections, *_provenance(commands, versions or {})]
    anchors = _anchors([section.heading for section in sections])
    contents = "".join(
        f'<li><a href="#{anchor}">{escape(section.heading)}</a></li>'
        for anchor, section in zip(anchors, sections, strict=True)
    )
    body = "".join(
        f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{escape(section.heading)}</h2>'
        + "".join(_block(block).html() for block in section.blocks)
        + "</section>\n"
        for anchor, section in zip(anchors, sections, strict=True)
    )
    style = _STYLE % {"light": theme.variables(dark=False), "dark": theme.variables(dark=True)}
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
        f"<title>{escape(title)}</title><style>{style}</style></head>\n<body>"
        '<a class="skip" href="#answer">Skip to the answer</a>'
        f'<header><h1>{escape(title)}</h1></header>\n<main><div class="answer" id="answer">'
        f"{''.join(f'<p>{escape(text)}</p>' for text in answers)}</div>\n"
        f"{Warnings(warnings).html()}"
        f'<nav aria-label="Contents"><ul>{contents}</ul></nav>\n{body}</main></body></html>\n'
    )


def _block(block: Block | str) -> Block:
    return Text(block) if isinstance(block, str) else block


def _provenance(commands: Sequence[str], versions: Mapping[str, object]) -> list[Section]:
    blocks: list[Block] = []
    if commands:
        blocks.append(Code("\n".join(commands), "Commands that make this page again"))
    if versions:
        lines = "\n".join(f"{name}: {value}" for name, value in versions.items())
        blocks.append(Code(lines, "Versions and hardware"))
    return [Section("Commands and versions", blocks)] if blocks else []


def _anchors(headings: Sequence[str]) -> list[str]:
    """An id for each heading, no two alike."""
    slugs = [re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-") for heading in headings]
    return [f"{slug or 'section'}-{index}" for index, slug in enumerate(slugs, 1)]
