"""Figures and pages made of plain data: dicts and arrays in, pictures and HTML out.

`Page(title, answer, sections).write(path)` writes one self-contained page, as HTML or as Markdown;
`Section`s hold paragraphs and blocks; `curves`, `rate_distortion`, `scatter`, `grid`, `strips` and
`clip` (sound) make the blocks with pictures, whose `data` are the bytes of an SVG or PNG file;
`Table` makes tables.
"""

from narrows.report.bars import bars
from narrows.report.blocks import (
    Block,
    Gallery,
    Passage,
    Passages,
    Picture,
    Section,
    Sound,
    Strips,
)
from narrows.report.codes import cover, principal_plane, scatter, umap_plane
from narrows.report.curves import curves, smooth
from narrows.report.images import grid, labelled, pca_rgb, stretch, strips
from narrows.report.page import Page
from narrows.report.rate_distortion import rate_distortion
from narrows.report.sound import clip, spectrogram
from narrows.report.table import Column, Table

__all__ = [
    "Block",
    "Column",
    "Gallery",
    "Page",
    "Passage",
    "Passages",
    "Picture",
    "Section",
    "Sound",
    "Strips",
    "Table",
    "bars",
    "clip",
    "cover",
    "curves",
    "grid",
    "labelled",
    "pca_rgb",
    "principal_plane",
    "rate_distortion",
    "scatter",
    "smooth",
    "spectrogram",
    "stretch",
    "strips",
    "umap_plane",
]
