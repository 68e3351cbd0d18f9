"""Training runs for a rate that is asked for, measured by the bytes of a real file."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import yaml

from narrows import data as sources
from narrows.autoencoder import Autoencoder
from narrows.codec import Codec
from narrows.compare.equal_rate import Standing
from narrows.compare.run import RUN, Job
from narrows.data.dataset import Dataset
from narrows.modes import evaluating
from narrows.priors import QuantizedHistogram
from narrows.priors.base import Prior
from narrows.tasks import Outcome, Result
from narrows.training.evaluation import latents, quality
from narrows.training.priors.fitting import mean_bits
from narrows.training.rate import UNREACHED

J = TypeVar("J", bound=Job)
RATE = "rate"
"""What a sweep calls the bits per dimension that a recipe is trained for."""
WRITTEN = 500
"""Test examples in the file, which is read back."""
SQUARES = "squares"
"""Name of the array with the squared error of each test example in the file."""
_OPTION = "data-options."
_STEPS = 12  # halvings of the interval in which the step lies


@dataclass(frozen=True)
class Asked(Job):
    """One training run that is to end at a rate, and a file of test examples.

    Besides the test figures, its result has `file_bits_per_dimension` of a real file of the first
    `WRITTEN` test examples (its header left out), `file_mse`, `file_nmse` and `file_psnr` or
    `file_snr` of what comes back from it, and `squares`, the squared error of each.

    Its point has the rate, in bits per dimension, under the name `rate`.
    """

    @property
    def rate(self) -> float:
        """Asked, in bits per dimension."""
        return float(self.point[RATE])

    @property
    def name(self) -> str:
        """Recipe, rate and seed."""
        return f"{self.label.replace('/', '-')}-at{self.rate:g}-seed{self.seed}"

    def test_figures(self, result: Mapping[str, float]) -> dict[str, float]:
        """Those of the file in the place of those of the test split."""
        files = {k.removeprefix("file_"): v for k, v in result.items() if k.startswith("file_")}
        return {**result, **files}

    @property
    def words(self) -> Mapping[str, str]:
        """Settings, sweep, seed, and the rate."""
        words = {name: value for name, value in super().words.items() if name != RATE}
        asked = {"fit.rate": "narrows.training.Rate", "fit.rate.bits_per_dim": self.point[RATE]}
        return {**words, **asked}

    def run(self, folder: Path) -> Result:
        """Trains, then writes the file and reads it back."""
        figures = super().run(folder)
        options = {k: v for k, v in self.settings.items() if k.startswith(_OPTION)}
        data = sources.load(
            self.data, **{k.removeprefix(_OPTION): yaml.safe_load(v) for k, v in options.items()}
        )
        model = Autoencoder.load(folder / RUN)
        return {**figures, **in_a_file(model, data, rate=self.rate)}


def wider(job: J) -> J:
    """The same run for a rate that is larger by a quarter."""
    return dataclasses.replace(job, point={**job.point, RATE: f"{1.25 * float(job.point[RATE]):g}"})


def out_of_reach(outcome: Outcome[Job]) -> bool:
    """Whether a run failed because its model does not reach the rate."""
    asked = isinstance(outcome.task, Asked)
    return asked and outcome.error is not None and UNREACHED in outcome.error


@torch.no_grad()
def in_a_file(model: Autoencoder, data: Dataset, *, rate: float) -> dict[str, float | np.ndarray]:
    """Bits and distortion of the first test examples, as a real file gives them back.

    Codes that have no file under the model's own prior (those of a variational bottleneck) are
    rounded: to the step at which a histogram of them has the rate that is asked for, on
    validation examples.

    Raises:
        CodecError: if the file does not give back the codes that were written.
    """
    prior = model.prior
    if prior.coding != "conditionals":
        prior = rounding_prior(model, data, rate=rate)
    split = data.test.head(WRITTEN)
    codec, examples = Codec(model, prior), split.batch(torch.arange(len(split)))
    blob = codec.compress(examples)
    with evaluating(model):
        decoded = model.decode(codec.codes(blob)).cpu()
    if not data.own_units:
        decoded = decoded.clamp(0, 1)  # as a picture holds them
    squares = (decoded - examples).double().square().flatten(1).mean(1)
    figures = quality(squares.mean().item(), data.variance, peak=not data.own_units)
    bits = (8 * len(blob) - Codec.header_bits(blob)) / len(split) / data.dimensions
    return {
        "file_bits_per_dimension": bits,
        **{f"file_{name}": value for name, value in figures.items()},
        SQUARES: squares.numpy(),
    }


def rounding_prior(model: Autoencoder, data: Dataset, *, rate: float) -> Prior:
    """A histogram of the model's rounded codes, at the step that brings the rate asked for.

    Args:
        model: whose codes are random, or continuous.
        data: the histogram is fitted to its training codes.
        rate: bits per dimension on the validation split.

    Raises:
        TypeError: if a histogram does not suit the model's codes.
    """
    seen = [
        [dataclasses.replace(latent, posterior=None) for latent in latents(model, split)]
        for split in (data.train, data.validation)
    ]
    sites, codes = model.prior.sites, model.bottleneck.codes
    low, high = math.log(1e-3), math.log(10.0)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        prior = QuantizedHistogram.for_codes(codes, sites, step=math.exp(middle)).fit(seen[0])
        over = mean_bits(prior, seen[1]) / data.dimensions > rate
        low, high = (middle, high) if over else (low, middle)
    return QuantizedHistogram.for_codes(codes, sites, step=math.exp(high)).fit(seen[0])


@dataclass(frozen=True)
class Reached:
    """Where a run ended.

    Attributes:
        bits: of its file, per dimension.
        quality: of what comes back, dB.
        squares: squared error of each example.
    """

    bits: float
    quality: float
    squares: np.ndarray


Runs = Mapping[str, Mapping[float, Mapping[int, Reached]]]
"""Label -> rate asked -> seed -> where the run ended."""


def reached(outcomes: Sequence[Outcome[Job]]) -> Runs:
    """The runs that were trained for a rate and did not fail, by recipe, rate and seed."""
    found: dict[str, dict[float, dict[int, Reached]]] = {}
    for outcome in outcomes:
        task, figures = outcome.task, outcome.figures
        if isinstance(task, Asked) and outcome.error is None:
            quality = figures["file_psnr" if "file_psnr" in figures else "file_snr"]
            run = Reached(
                figures["file_bits_per_dimension"], quality, np.asarray(outcome.result[SQUARES])
            )
            found.setdefault(task.label, {}).setdefault(task.rate, {})[task.seed] = run
    return found


def slope(by_rate: Mapping[float, Mapping[int, Reached]], rate: float) -> float:
    """A recipe's gain at a rate in dB for each doubling of the bits; NaN with runs at one rate.

    Over seeds that two neighbouring rates share: difference of mean quality over difference of
    mean log2 bits, to the nearest other rate asked.
    """
    others = sorted(by_rate.keys() - {rate}, key=lambda r: abs(math.log(r / rate)))
    for other in others:
        shared = by_rate[other].keys() & by_rate[rate].keys()
        ends = [
            [(math.log2(by_rate[r][s].bits), by_rate[r][s].quality) for s in shared]
            for r in (rate, other)
        ]
        if shared:
            (x, y), (u, v) = np.mean(ends, axis=1)
            if abs(u - x) > 0.05:  # nearer together their difference is mostly noise
                return max(float((v - y) / (u - x)), 0.0)
    return math.nan


def slopes(runs: Runs, rate: float) -> dict[str, float]:
    """The slope of every recipe that was trained for a rate."""
    return {label: slope(by_rate, rate) for label, by_rate in runs.items() if rate in by_rate}


def at_asked(runs: Runs, rate: float, slopes: Mapping[str, float]) -> Standing:
    """All recipes that were trained for a rate, each brought to it along its own slope.

    quality - slope * log2(bits / rate), which moves a run that ended within 2 % of the rate by
    some hundredths of a dB. Where no slope is known the quality stays as it is.
    """
    values = {}
    for label, by_rate in runs.items():
        if rate in by_rate:
            gain = slopes.get(label, math.nan)
            values[label] = {
                seed: run.quality - (gain * math.log2(run.bits / rate) if gain > 0 else 0.0)
                for seed, run in by_rate[rate].items()
            }
    return Standing(rate, "", values)
