"""What a page is made of; each block knows its own HTML."""

import base64
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from narrows.report import theme


class Block(ABC):
    """A piece of a page."""

    @abstractmethod
    def html(self) -> str:
        """The block as HTML; all text in it is escaped."""


@dataclass(frozen=True)
class Text(Block):
    """A paragraph.

    Attributes:
        text: plain text.
    """

    text: str

    def html(self) -> str:
        """A paragraph element."""
        return f"<p>{escape(self.text)}</p>"


@dataclass(frozen=True)
class Warnings(Block):
    """Sentences that a reader must not miss; renders nothing if there are none.

    Attributes:
        sentences: plain text, one warning each.
    """

    sentences: Sequence[str]

    def html(self) -> str:
        """A marked list."""
        if not self.sentences:
            return ""
        items = "".join(f"<li>{escape(sentence)}</li>" for sentence in self.sentences)
        return f'<div class="warnings" role="note"><strong>Warnings</strong><ul>{items}</ul></div>'


@dataclass(frozen=True)
class Code(Block):
    """Commands or settings, word for word.

    Attributes:
        text: shown with its line breaks.
        label: what it is.
    """

    text: str
    label: str = "Commands"

    def html(self) -> str:
        """Preformatted text that scrolls by keyboard where it is too wide."""
        return (
            f'<pre tabindex="0" role="region" aria-label="{escape(self.label)}">'
            f"<code>{escape(self.text)}</code></pre>"
        )


@dataclass(frozen=True)
class Picture(Block):
    """A figure with a caption.

    Attributes:
        data: the bytes of an SVG or PNG file.
        alt: what it shows, for those who do not see it.
        caption: what to look for.
    """

    data: bytes
    alt: str
    caption: str

    @property
    def suffix(self) -> str:
        """File name ending: ".svg" or ".png"."""
        return ".png" if self.data.startswith(b"\x89PNG") else ".svg"

    def save(self, stem: str | Path) -> Path:
        """Writes the picture to `stem` with its file name ending added."""
        path = Path(stem)
        path = path.with_name(path.name + self.suffix)
        path.write_bytes(self.data)
        return path

    def html(self) -> str:
        """A figure element with the picture inside it."""
        return f"<figure>{_image(self)}<figcaption>{escape(self.caption)}</figcaption></figure>"


@dataclass(frozen=True)
class Strips(Block):
    """Labelled rows of pictures, one above the other, for comparison column by column.

    Attributes:
        rows: label -> picture, all of the same width in tiles.
        caption: what to look for.
    """

    rows: Mapping[str, Picture]
    caption: str

    def html(self) -> str:
        """A figure whose rows scroll together where they are too wide."""
        rows = "".join(
            f'<div class="strip"><span class="label">{escape(label)}</span>{_image(row)}</div>'
            for label, row in self.rows.items()
        )
        return (
            f'<figure class="wide"><div class="scroll" tabindex="0" role="region" '
            f'aria-label="{escape(self.caption)}">{rows}</div>'
            f"<figcaption>{escape(self.caption)}</figcaption></figure>"
        )


@dataclass(frozen=True)
class Gallery(Block):
    """Pictures side by side where there is room, below each other where there is not.

    Attributes:
        blocks: usually pictures.
    """

    blocks: Sequence[Block]

    def html(self) -> str:
        """A grid; images of images may be narrower than plots, whose text must be readable."""
        small = all(isinstance(b, Picture) and b.suffix == ".png" for b in self.blocks)
        kind = "gallery small" if small else "gallery"
        return f'<div class="{kind}">{"".join(block.html() for block in self.blocks)}</div>'


def _image(picture: Picture) -> str:
    if picture.suffix == ".svg":
        return theme.inline_svg(picture.data, escape(picture.alt))
    data = base64.b64encode(picture.data).decode()
    return f'<img class="pixels" alt="{escape(picture.alt)}" src="data:image/png;base64,{data}">'
