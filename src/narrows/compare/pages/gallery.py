"""The pictures of several models of one data set, as sections of a page."""

from collections.abc import Mapping

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.compare import pictures
from narrows.compare.pictures import fields, maps, paths, units
from narrows.compare.pictures.history import Histories
from narrows.data.dataset import Dataset
from narrows.report import Block, Gallery, Section, Strips, grid, strips
from narrows.report.codes import Projection, principal_plane

COLUMNS, SAMPLES, FEW = 12, 24, 8
"""Images in a row of reconstructions, samples of a model, images where a model has rows."""
POINTS = 500
"""Held-out examples whose codes are drawn."""


def sections(
    data: Dataset,
    models: Mapping[str, Autoencoder],
    histories: Histories,
    measured: Mapping[str, Section] | None = None,
    project: Projection = principal_plane,
) -> list[Section]:
    """All pictures that these models and these data allow, each beside its table.

    Args:
        data: images of 1 or 3 channels are shown; of anything else only curves and codes.
        models: by label.
        histories: of training, by label.
        measured: tables by heading, which join the pictures of the same heading.
        project: how codes are laid out in the plane.
    """
    device = next(iter(models.values())).encoder.parameters()
    x = held_out(data, POINTS).to(next(device).device)
    labels = None if data.test.labels is None else data.test.labels[: len(x)]
    found: dict[str, list[Block | str]] = {}
    if shows_images(data):
        found |= _images(models, x, labels)
    for section in pictures.training_sections(histories):
        found[section.heading] = list(section.blocks)
    if spectrum := pictures.spectra(models, x):
        found["Structure of the codes"] = [spectrum]
    scatters = pictures.scatters(models, x, labels=labels, project=project)
    found["Codes by class" if labels is not None else "Codes"] = [Gallery(scatters)]
    if covers := pictures.covers(models, x, project=project):
        found["Codebooks and dictionaries"] = [Gallery(covers), *found.pop("Single units", [])]
    for heading, section in (measured or {}).items():
        found[heading] = [*section.blocks, *found.get(heading, [])]
    order = [heading for heading in _ORDER if heading in found]
    order += [heading for heading in found if heading not in order]
    return [Section(heading, found[heading]) for heading in order]


_ORDER = (
    "Reconstructions", "Sharpness", "Samples", "What is retained", "Denoising", "Training",
    "Usage and sparsity over training", "Structure of the codes", "Information in the codes",
    "Codes by class", "Codes", "The latent plane", "Codebooks and dictionaries", "Single units",
    "Latent maps", "Receptive fields", "Between codes", "Along single features",
)  # fmt: skip


def _images(
    models: Mapping[str, Autoencoder], x: Tensor, labels: Tensor | None
) -> dict[str, list[Block | str]]:
    """Pictures made of pictures, by heading; only what there is."""
    one, two = _pairs(x, labels)
    few = x[:FEW]
    made: dict[str, list] = {
        "Reconstructions": [reconstructions(models, x[:COLUMNS])],
        "Samples": [Gallery([samples(name, model) for name, model in models.items()])],
        "Denoising": [pictures.denoised(models, x[:COLUMNS])],
        "The latent plane": _gallery(pictures.plane(models, x)),
        "Single units": _gallery(pictures.responses(models, x), units.ABOUT),
        "Latent maps": [
            *_one(pictures.latent_maps(models, x[:COLUMNS])),
            *_gallery(pictures.masked(models, few), maps.MASKED),
        ],
        "Receptive fields": _gallery(pictures.receptive_fields(models, x), fields.ABOUT),
        "Between codes": pictures.interpolations(models, one, b=two),
        "Along single features": _gallery(pictures.traversals(models, x), paths.ABOUT),
    }
    return {heading: blocks for heading, blocks in made.items() if blocks}


def shows_images(data: Dataset) -> bool:
    """Whether the examples are images that a page can show."""
    return len(data.shape) == 3 and data.shape[0] in (1, 3)


def held_out(data: Dataset, n: int) -> Tensor:
    """The first test examples."""
    return data.test.batch(torch.arange(min(n, len(data.test))))


def reconstructions(
    models: Mapping[str, Autoencoder],
    x: Tensor,
    caption: str = "Held-out images, and each as it comes back from its stored code.",
) -> Strips:
    """Held-out images above what each model makes of them."""
    rows = {"originals": x} | {name: m.reconstruct(x).clamp(0, 1) for name, m in models.items()}
    return strips({name: images.cpu().numpy() for name, images in rows.items()}, caption=caption)


def samples(name: str, model: Autoencoder):
    """Decoded draws from the model's prior."""
    device = next(model.parameters()).device
    drawn = model.sample(SAMPLES, torch.Generator(device).manual_seed(0)).cpu().clamp(0, 1)
    kind = type(model.prior).__name__
    return grid(
        drawn.numpy(), what=f"samples of {name}", caption=f"{name}: decoded draws from {kind}"
    )


def _pairs(x: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """The ends of two interpolations: images of different classes where there are classes."""
    if labels is None or len(labels.unique()) < 4:
        chosen = [0, 1, 2, 3]
    else:
        firsts = [int((labels == label).nonzero()[0]) for label in labels.unique()[:4]]
        chosen = firsts
    index = torch.tensor([i % len(x) for i in chosen], device=x.device)
    return x[index[[0, 2]]], x[index[[1, 3]]]


def _gallery(blocks: list, about: str = "") -> list[Block | str]:
    lead: list[Block | str] = [about] if about else []
    return [*lead, Gallery(blocks)] if blocks else []


def _one(block: Block | None) -> list[Block]:
    return [] if block is None else [block]
