"""The pictures of several models of one data set, as sections of a page."""

import math
import warnings
from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.compare.pictures import changes, codes, sounds, units
from narrows.data.dataset import Dataset
from narrows.report import Block, Gallery, Picture, Section, Strips, curves, grid, strips
from narrows.report.codes import Projection, principal_plane
from narrows.report.sound import RANGE

COLUMNS, SAMPLES, FEW = 12, 24, 8
"""Images in a row of reconstructions, samples of a model, images where a model has rows."""
SHORTEST = 64
"""Steps of a sequence from which it has a spectrogram."""
POINTS = 500
"""Held-out examples whose codes are drawn."""
MAIN = ("Reconstructions", "Samples", "Training", "Usage and sparsity over training", "Codes")
"""Headings that a page of single runs has."""

ORDER = (
    "Features", "Reconstructions", "Sharpness", "Samples", "What is retained", "Denoising",
    "Training", "Usage and sparsity over training", "Structure of the codes",
    "Information in the codes", "Codes", "The latent plane", "Codebooks and dictionaries",
    "Single units", "Latent maps", "Receptive fields", "Between codes", "Along single features",
)  # fmt: skip
"""Headings of all pictures and of the tables beside them."""

Models = Mapping[str, Autoencoder]
Histories = Mapping[str, Sequence[Mapping[str, float]]]
"""Label -> one row per epoch, as `Run.history` has them."""
Blocks = Sequence[Block | str]

_LOSSES = (
    ("validation_nmse", "NMSE, validation split", "", "Smaller is better."),
    ("loss", "training loss", "nats per example",
     "Each model's own loss: not comparable between models."),
    ("commitment", "quantisation loss", "",
     "Squared distance of features and code, summed over sites; its weight is left out."),
    ("validation_feature_nmse", "features left over", "share",
     "Energy of the features that the code does not hold."),
    ("rate", "rate", "nats per example", "As it enters the training loss."),
)  # fmt: skip
_USE = (
    ("validation_usage", "codes used", "share", ""),
    ("validation_perplexity", "perplexity", "codes", ""),
    ("validation_atoms_used", "atoms used", "share", ""),
    ("validation_l0", "L0", "active atoms per site", ""),
    ("validation_active_units", "active units", "of each site", ""),
)


def sections(
    data: Dataset,
    models: Models,
    *,
    histories: Histories,
    measured: Mapping[str, Blocks] | None = None,
    project: Projection = principal_plane,
    only: Container[str] | None = None,
) -> list[Section]:
    """All pictures that these models and these data allow, each beside its table.

    Args:
        data: images of 1 or 3 channels are shown, and sequences `[channels, t]` as spectrograms and
            sound; of anything else only curves and codes.
        models: by label.
        histories: of training, by label.
        measured: tables by heading, which stand before the pictures of the same heading.
        project: how codes are laid out in the plane.
        only: headings to make; by default all.
    """
    x = held_out(data, POINTS).to(next(next(iter(models.values())).parameters()).device)
    labels = None if data.test.labels is None else data.test.labels[: len(x)]
    each = partial(_gallery, models)
    pictures: dict[str, Callable[[], Blocks]] = {
        **dict.fromkeys(ORDER, list[Block | str]),
        **(_of_images(models, x, labels) if shows_images(data) else {}),
        **(_of_sequences(models, x, data.rate) if shows_sequences(data) else {}),
        "Training": lambda: training(histories, _LOSSES),
        "Usage and sparsity over training": lambda: training(histories, _USE),
        "Structure of the codes": lambda: _one(codes.spectra(models, x)),
        "Codes": lambda: each(codes.in_plane, x=x, labels=labels, project=project),
        "Codebooks and dictionaries": lambda: each(units.covers, x=x, project=project),
    }
    tables, found = measured or {}, list[Section]()
    for heading, make in pictures.items():
        if only is None or heading in only:
            blocks = [*tables.get(heading, ()), *_drawn(heading, make)]
            if heading == "Codes" and labels is not None:
                heading = "Codes by class"
            found += [Section(heading, blocks)] if blocks else []
    return found


def _drawn(heading: str, make: Callable[[], Blocks]) -> Blocks:
    """What `make` draws; a sentence where it cannot, so that the rest of the page is written."""
    try:
        return make()
    except Exception as error:
        said = f"{heading} could not be drawn: {type(error).__name__}: {error}"
        warnings.warn(said, stacklevel=2)
        return [said]


def _of_images(models: Models, x: Tensor, labels: Tensor | None) -> dict[str, Callable[[], Blocks]]:
    """Makers of pictures of pictures, by heading."""
    one, two = _pairs(x, labels)
    each, many, few = partial(_gallery, models), x[:COLUMNS], x[:FEW]
    return {
        "Reconstructions": lambda: [reconstructions(models, many)],
        "Samples": lambda: each(samples),
        "Denoising": lambda: [changes.denoised(models, many)],
        "The latent plane": lambda: each(codes.plane, x=x),
        "Single units": lambda: each(units.responses, about=units.RESPONSES, x=x),
        "Latent maps": lambda: [
            *_one(codes.latent_maps(models, many)),
            *each(changes.masked, about=changes.MASKED, x=few),
        ],
        "Receptive fields": lambda: each(units.receptive_fields, about=units.RECEPTIVE, x=x),
        "Between codes": lambda: changes.interpolations(models, one, b=two),
        "Along single features": lambda: each(changes.traversals, about=changes.TRAVERSED, x=x),
    }


def _of_sequences(models: Models, x: Tensor, rate: int | None) -> dict[str, Callable[[], Blocks]]:
    said = "Held-out sequences, and each as it comes back from its stored code: spectrograms with "
    said += f"frequency upwards, {RANGE} dB from the brightest colour to the darkest."
    return {"Reconstructions": lambda: [said, *sounds.reconstructions(models, x, rate)]}


def shows_images(data: Dataset) -> bool:
    """Whether the examples are images that a page can show."""
    return len(data.shape) == 3 and data.shape[0] in (1, 3) and not data.own_units


def shows_sequences(data: Dataset) -> bool:
    """Whether the examples are sequences `[channels, t]` of which a spectrogram can be shown."""
    return len(data.shape) == 2 and data.train.features == 0 and data.shape[1] >= SHORTEST


def held_out(data: Dataset, n: int) -> Tensor:
    """The first test examples."""
    return data.test.batch(torch.arange(min(n, len(data.test))))


def reconstructions(
    models: Models,
    x: Tensor,
    caption: str = "Held-out images, and each as it comes back from its stored code.",
) -> Strips:
    """Held-out images above what each model makes of them."""
    rows = {"originals": x} | {name: m.reconstruct(x).clamp(0, 1) for name, m in models.items()}
    return strips({name: images.cpu().numpy() for name, images in rows.items()}, caption=caption)


def samples(name: str, model: Autoencoder) -> Picture:
    """Decoded draws from the model's prior."""
    device = next(model.parameters()).device
    drawn = model.sample(SAMPLES, torch.Generator(device).manual_seed(0)).cpu().clamp(0, 1)
    caption = f"{name}: decoded draws from {type(model.prior).__name__}"
    return grid(drawn.numpy(), what=f"samples of {name}", caption=caption)


def training(histories: Histories, quantities: Sequence[tuple[str, str, str, str]]) -> Blocks:
    """How training went: a smoothed curve per model of each quantity that one of them has.

    Args:
        histories: of all models.
        quantities: key in a row of a history, name, unit, what to look for.
    """
    drawn = []
    for key, name, unit, caption in quantities:
        series = {label: column(rows, key) for label, rows in histories.items()}
        series = {label: pair for label, pair in series.items() if pair[0]}
        if series:
            order = list(histories)
            drawn.append(curves(series, quantity=name, unit=unit, caption=caption, order=order))
    return [Gallery(drawn)] if drawn else []


def column(rows: Sequence[Mapping[str, float]], key: str) -> tuple[list[float], list[float]]:
    """Epochs and finite values of one quantity."""
    kept = [row for row in rows if key in row and math.isfinite(row[key])]
    return [row["epoch"] for row in kept], [row[key] for row in kept]


def _pairs(x: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """The ends of two interpolations: images of different classes where there are classes."""
    if labels is None or len(labels.unique()) < 4:
        chosen = [0, 1, 2, 3]
    else:
        chosen = [int((labels == label).nonzero()[0]) for label in labels.unique()[:4]]
    index = torch.tensor([i % len(x) for i in chosen], device=x.device)
    return x[index[[0, 2]]], x[index[[1, 3]]]


def _gallery(
    models: Models, draw: Callable[..., Picture | None], about: str = "", **given: object
) -> Blocks:
    """One picture per model that has one, below what they show."""
    drawn = [draw(name, model, **given) for name, model in models.items()]
    found = [picture for picture in drawn if picture is not None]
    return [*([about] if about else []), Gallery(found)] if found else []


def _one(block: Block | None) -> Blocks:
    return [] if block is None else [block]
