"""Pictures of trained models, one kind a file, each the same size for every model.

Every function takes models by label and returns blocks of a page, or None where a model has
nothing of the kind: a code without sites has no map, a discrete one no traversal.
"""

from narrows.compare.pictures.fields import receptive_fields
from narrows.compare.pictures.history import training_sections
from narrows.compare.pictures.latents import plane, scatters, spectra
from narrows.compare.pictures.maps import latent_maps, masked
from narrows.compare.pictures.noise import denoised
from narrows.compare.pictures.paths import interpolations, traversals
from narrows.compare.pictures.units import covers, responses

__all__ = [
    "covers",
    "denoised",
    "interpolations",
    "latent_maps",
    "masked",
    "plane",
    "receptive_fields",
    "responses",
    "scatters",
    "spectra",
    "training_sections",
    "traversals",
]
