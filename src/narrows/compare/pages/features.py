"""The page of a dictionary: how it fires, and what chosen atoms of it say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.codec import CodecError
from narrows.codes import atoms_of
from narrows.compare.pages.run import versions
from narrows.data.dataset import Dataset
from narrows.data.loaders.activations.contexts import Source
from narrows.data.mapped import MappedSplit
from narrows.interop.splicing import LossRecovered
from narrows.metrics import (
    Firing,
    cosines,
    directions,
    file_bits,
    fired,
    firing,
    nearest_cosines,
)
from narrows.metrics.features.strongest import Fired, values_of
from narrows.priors.base import NoRateError
from narrows.report import (
    Block,
    Column,
    Gallery,
    Page,
    Passage,
    Passages,
    Section,
    Table,
    bars,
)

BEFORE, AFTER, TOP, NEAREST, EFFECTS = 12, 6, 8, 4, 8
"""Tokens around one, passages of a feature, its neighbours, words that it raises or lowers."""


@dataclass(frozen=True)
class Beside:
    """What is known beside the dictionary; the page leaves out what is not.

    Attributes:
        source: where the rows of the data come from.
        recovered: loss with the dictionary spliced into its model.
        unembedding: word by word `[words, d]`, what the model reads off the layer's space.
        words: of the rows of `unembedding`.
    """

    source: Source | None = None
    recovered: LossRecovered | None = None
    unembedding: Tensor | None = None
    words: Sequence[str] = ()


def write_features(
    path: str | Path,
    model: Autoencoder,
    *,
    data: Dataset,
    beside: Beside,
    chosen: Sequence[int] = (),
    most: int = 12,
    command: str = "",
) -> Path:
    """Writes the page of a dictionary on held-out vectors.

    Args:
        path: the HTML (or Markdown) file.
        model: that codes vectors by atoms.
        data: whose test split is looked at.
        beside: contexts, loss, words.
        chosen: features that get a section; by default `most` of them, from the rarest that fires
            in ten examples or more to the most frequent.
        most: how many by default.
        command: what to type to get this page again.

    Raises:
        ValueError: if the model codes otherwise, or there is no such feature.
    """
    found = firing(model, data.test)
    numbers = list(chosen) or spread(found, most)
    places = fired(model, data.test, atoms=numbers)
    every = directions(model, atoms=range(len(found.rates)))
    shown = _Shown(model, data, beside, found, every)
    sections = [
        Section("The dictionary", overview(found, every, beside.recovered, _bits(model, data))),
        *(Section(f"Feature {atom}", shown.blocks(atom, places[atom])) for atom in numbers),
    ]
    by = "given" if chosen else "from seldom to often"
    answer = [
        f"{len(found.rates):,} features on {data.name}: they explain {found.explained:.1%} of the "
        f"variance of {found.examples:,} held-out vectors with {found.l0:.3g} features each; "
        f"{found.dead:.1%} fire at none of them, {found.dense:.1%} at more than a tenth.",
        f"{len(numbers)} features are shown ({by}).",
    ]
    return Page(
        f"Features of {type(model.bottleneck).__name__} on {data.name}", answer, sections,
        commands=[command] if command else (), versions=versions(),
    ).write(path)  # fmt: skip


def spread(found: Firing, most: int) -> list[int]:
    """Features of all rates: evenly among those that fire in ten examples or more, by rate."""
    rates = found.rates.cpu()
    enough = (rates * found.examples >= 10).nonzero()[:, 0]
    enough = enough if len(enough) else (rates > 0).nonzero()[:, 0]
    ordered = enough[rates[enough].argsort(stable=True)]
    places = np.unique(np.linspace(0, len(ordered) - 1, min(most, len(ordered))).round())
    return [int(ordered[int(place)]) for place in places]


def _bits(model: Autoencoder, data: Dataset) -> dict[str, float]:
    """Bits of a real file; none where the code has no prior that could write it."""
    try:
        return {"file_bits": file_bits(model, data.test)}
    except (CodecError, NoRateError):
        return {}


def overview(
    found: Firing, atoms: Tensor, recovered: LossRecovered | None, bits: Mapping[str, float]
) -> list[Block | str]:
    """Figures of the whole dictionary, and two histograms."""
    row = {**found.figures(), **bits}
    if recovered is not None:
        row |= {
            "recovered": recovered.recovered, "over_mean": recovered.recovered_over_mean,
            "clean": recovered.clean, "spliced": recovered.spliced,
        }  # fmt: skip
    table = Table.of("Held-out vectors.", _COLUMNS, rows={"dictionary": row}, corner="")
    counts, edges = found.histogram()
    rates = bars(
        counts, edges, quantity="log10 of the share of vectors at which a feature fires",
        of="features", caption=f"How often features fire; {found.dead:.1%} never do here.",
    )  # fmt: skip
    near = nearest_cosines(atoms)
    blank = nearest_cosines(torch.randn(atoms.shape, generator=torch.Generator().manual_seed(0)))
    counts, edges = torch.histogram(near, torch.linspace(0, 1, 21))
    copies = bars(
        counts, edges, quantity="largest |cosine| with another feature", of="features",
        caption=f"Copies and split features lie on the right. Median {near.median():.2f}; of as "
        f"many random directions {blank.median():.2f}.",
    )  # fmt: skip
    return [table, Gallery([rates, copies])]


_COLUMNS: Mapping[str, Column] = {
    "explained": Column("variance explained", "share, about each mean"),
    "recovered": Column("loss recovered", "share; 0: zeros do as well"),
    "over_mean": Column("loss recovered", "share; 0: the mean does as well"),
    "clean": Column("loss", "nats a token, as it is"),
    "spliced": Column("loss", "nats a token, spliced"),
    "file_bits": Column("file", "bits a vector, rounded as in the loss"),
    "l0": Column("L0", "features a vector"),
    "dead": Column("dead", "share of features"),
    "dense": Column("dense", "share, over a tenth"),
    "cosine": Column("cosine", "of a vector and its copy"),
    "norm_ratio": Column("norm ratio", "copy over vector"),
}


@dataclass(frozen=True)
class _Shown:
    """A dictionary, and all that its features are shown with."""

    model: Autoencoder
    data: Dataset
    beside: Beside
    found: Firing
    directions: Tensor

    def blocks(self, atom: int, places: Fired) -> list[Block | str]:
        """What is shown of one feature."""
        count, n = len(places.rows), self.found.examples
        if not count:
            return [f"Fires at none of {n:,} vectors.", self._neighbours(atom)]
        largest = places.values[places.values.abs().argmax()]
        said: list[Block | str] = [
            f"Fires at {count:,} of {n:,} vectors ({count / n:.2%}); largest value {largest:.3g}, "
            f"median {places.values.median():.3g}."
        ]
        if self.beside.source is not None and self.beside.source.words:
            said.append(self._passages(atom, places, self.beside.source))
        if self.beside.unembedding is not None:
            said += self._effects(atom, self.beside.unembedding)
        low, high = float(places.values.min()), float(places.values.max())
        high = max(high, low + 1e-3 * float(largest.abs()))  # equal values have no bins
        counts, edges = np.histogram(places.values, min(30, 5 + round(count**0.5)), (low, high))
        values = bars(
            counts, edges, quantity="value where it fires", of="vectors",
            caption=f"Values of feature {atom}.",
        )  # fmt: skip
        return [*said, self._neighbours(atom), values]

    def _passages(self, atom: int, places: Fired, source: Source) -> Passages:
        """Where it fires most, in context; a token is marked by its share of the largest value."""
        split = self.data.test
        assert isinstance(split, MappedSplit)
        size = float(places.values.abs().max())
        rows, seen = [], set[int]()
        for place in places.strongest(len(places.rows)).tolist():
            context = int(source.context[split.rows[place]])
            if context in seen or len(rows) == TOP:
                continue
            seen.add(context)
            window = source.window(int(split.rows[place]), before=BEFORE, after=AFTER)
            x = source.values(window).to(next(self.model.parameters()).device)
            with torch.no_grad():
                values = values_of(atoms_of(self.model.latent(x).code), atom).abs() / size
            words = [source.words.get(str(int(t)), "?") for t in source.token[window]]
            own = places.values[(places.rows == place).nonzero()[0, 0]]
            label = f"{own:.3g}, context {context}, token {source.position[split.rows[place]]}:"
            rows.append(Passage(label, words, values.clamp(max=1).tolist()))
        caption = "Where it fires most, once a held-out context; the darker a token, the more."
        return Passages(rows, caption)

    def _effects(self, atom: int, unembedding: Tensor) -> list[str]:
        """The words that its direction raises and lowers most, straight through the unembedding."""
        change = unembedding @ torch.nn.functional.normalize(self.directions[atom], dim=0)
        order = change.argsort()
        words = self.beside.words

        def named(numbers: Tensor) -> str:
            return ", ".join(f"{words[i]!r} {change[i]:+.2f}" for i in numbers.tolist())

        return [
            f"Raises (logits for a unit of its direction): {named(order[-EFFECTS:].flip(0))}.",
            f"Lowers: {named(order[:EFFECTS])}.",
        ]

    def _neighbours(self, atom: int) -> str:
        near = cosines(self.directions[atom : atom + 1], self.directions)[0]
        near[atom] = 0
        order = near.abs().argsort(descending=True)[:NEAREST].tolist()
        return "Nearest features: " + ", ".join(f"{i} (cosine {near[i]:.2f})" for i in order) + "."
