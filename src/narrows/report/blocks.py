"""What stands on a page: pictures, galleries, marked text; a paragraph is a plain string."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from markupsafe import Markup, escape

from narrows.report import theme
from narrows.saving.writing import write_bytes


class Block:
    """A piece of a page, other than a paragraph."""

    shown_as: ClassVar[Literal["figure", "strips", "gallery", "table", "sound", "passages"]]


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

    shown_as = "figure"

    @property
    def suffix(self) -> str:
        """File name ending: ".svg" or ".png"."""
        return ".png" if self.data.startswith(b"\x89PNG") else ".svg"

    @property
    def inline(self) -> Markup:
        """An SVG picture as part of an HTML page."""
        return theme.inline_svg(self.data, self.alt)

    @property
    def base64(self) -> str:
        """The bytes as a data URL holds them."""
        return base64.b64encode(self.data).decode()

    def _repr_html_(self) -> str:
        """What a notebook shows of it: on paper, since the theme around it is unknown."""
        kind = "png" if self.suffix == ".png" else "svg+xml"
        return (
            f'<figure style="margin:0;padding:8px;background:{theme.PAPER};color:{theme.INK}">'
            f'<img style="max-width:100%" alt="{escape(self.alt)}" '
            f'src="data:image/{kind};base64,{self.base64}">'
            f"<figcaption>{escape(self.caption)}</figcaption></figure>"
        )

    def save(self, stem: str | Path) -> Path:
        """Writes the picture to `stem` with its file name ending added."""
        path = Path(stem)
        path = path.with_name(path.name + self.suffix)
        write_bytes(path, self.data)
        return path


@dataclass(frozen=True)
class Sound(Block):
    """Something to play, below a picture of it.

    Attributes:
        data: the bytes of a WAV file.
        picture: its spectrogram; its caption says what is heard.
    """

    data: bytes
    picture: Picture

    shown_as = "sound"

    @property
    def base64(self) -> str:
        """The bytes as a data URL holds them."""
        return base64.b64encode(self.data).decode()

    def save(self, stem: str | Path) -> Path:
        """Writes the WAV file to `stem` with its file name ending added."""
        path = Path(f"{stem}.wav")
        write_bytes(path, self.data)
        return path


@dataclass(frozen=True)
class Strips(Block):
    """Labelled rows of pictures, one above the other, for comparison column by column.

    Attributes:
        rows: label -> picture, all of the same width in tiles.
        caption: what to look for.
    """

    rows: Mapping[str, Picture]
    caption: str

    shown_as = "strips"


@dataclass(frozen=True)
class Passage:
    """A piece of text, of which each token is marked by a strength.

    Attributes:
        label: in front of it.
        tokens: that follow one another, as text has them.
        strengths: of each token in [0, 1]; 0: not marked.
    """

    label: str
    tokens: Sequence[str]
    strengths: Sequence[float]

    @property
    def marked(self) -> list[tuple[str, int]]:
        """Each token with its level, 0 to 4; line ends are shown by a sign."""
        levels = [min(4, math.ceil(4 * strength)) for strength in self.strengths]
        return [(t.replace("\n", "\u23ce"), n) for t, n in zip(self.tokens, levels, strict=True)]


@dataclass(frozen=True)
class Passages(Block):
    """Pieces of text, one below the other.

    Attributes:
        rows: in order.
        caption: what to look for.
    """

    rows: Sequence[Passage]
    caption: str

    shown_as = "passages"


@dataclass(frozen=True)
class Gallery(Block):
    """Pictures side by side where there is room, below each other where there is not.

    Attributes:
        blocks: usually pictures.
    """

    blocks: Sequence[Block]

    shown_as = "gallery"

    @property
    def is_small(self) -> bool:
        """True for images of images, which may be narrower than plots, whose text must be read."""
        pictures = [b.picture if isinstance(b, Sound) else b for b in self.blocks]
        return all(isinstance(b, Picture) and b.suffix == ".png" for b in pictures)


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it.

    Attributes:
        heading: shown, and listed at the top of the page.
        blocks: in order; a plain string is a paragraph.
        folded: whether a reader has to open it, where the page can be opened and closed.
    """

    heading: str
    blocks: Sequence[Block | str] = ()
    folded: bool = False
