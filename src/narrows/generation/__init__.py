"""What one does with a trained latent: paths between codes, traversals, masks, completion."""

from narrows.generation.masks import complete, mask_sites, redraw
from narrows.generation.paths import (
    Path,
    blending,
    interpolate,
    linear,
    path_for,
    spherical,
    switching,
)
from narrows.generation.traversal import set_coefficient, set_feature, set_index, traverse, usual

__all__ = [
    "Path",
    "blending",
    "complete",
    "interpolate",
    "linear",
    "mask_sites",
    "path_for",
    "redraw",
    "set_coefficient",
    "set_feature",
    "set_index",
    "spherical",
    "switching",
    "traverse",
    "usual",
]
