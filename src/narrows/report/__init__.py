"""Figures and pages made of plain data: dicts and arrays in, pictures and HTML out.

`page.write(path, title, answer, sections)` writes one self-contained page; `Section`s hold
text and blocks; `curves`, `rate_distortion`, `scatter`, `grid` and `strips` make the blocks
with pictures, whose `data` are the bytes of an SVG or PNG file; `Table` makes tables.
"""

from narrows.report import markdown, page
from narrows.report.blocks import Block, Code, Gallery, Picture, Strips, Text, Warnings
from narrows.report.codes import cover, principal_plane, scatter, umap_plane
from narrows.report.curves import curves, smooth
from narrows.report.images import grid, labelled, pca_rgb, stretch, strips
from narrows.report.page import Section
from narrows.report.rate_distortion import rate_distortion
from narrows.report.table import Column, Table

__all__ = [
    "Block",
    "Code",
    "Column",
    "Gallery",
    "Picture",
    "Section",
    "Strips",
    "Table",
    "Text",
    "Warnings",
    "cover",
    "curves",
    "grid",
    "labelled",
    "markdown",
    "page",
    "pca_rgb",
    "principal_plane",
    "rate_distortion",
    "scatter",
    "smooth",
    "stretch",
    "strips",
    "umap_plane",
]
