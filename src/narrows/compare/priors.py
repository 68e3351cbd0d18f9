"""What the codes of finished runs cost under other priors: estimated, and in real files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.codec import Codec
from narrows.compare.plan import point_name
from narrows.compare.run import Job
from narrows.compare.statistics import summarize
from narrows.data.dataset import Dataset, Split
from narrows.priors.base import Prior
from narrows.tasks import Outcome
from narrows.training.evaluation import evaluate, latents, quality
from narrows.training.priors.fitting import fit_prior, latents_under, mean_bits
from narrows.training.priors.recipe import PriorRecipe

KL = "KL"
"""Name of a random code's own prior: what a draw costs, which only bits-back attains."""
SAMPLES = "samples.png"
"""Name of the file with decoded samples."""


@dataclass(frozen=True)
class Request:
    """One prior to code a run under.

    Attributes:
        recipe: of the prior that is fitted; None for the run's own prior of a random code.
        factor: of the step that codes are rounded to.
        seed: of the fit.
        files: test images written to a real file.
    """

    recipe: PriorRecipe | None
    factor: float = 1.0
    seed: int = 0
    files: int = 500

    @property
    def kind(self) -> str:
        """Name of the prior."""
        return KL if self.recipe is None else self.recipe.name

    @property
    def configuration(self) -> dict[str, object]:
        """Whatever changes the result, as plain data."""
        own = {"seed": self.seed, **self.recipe.configuration} if self.recipe else {}
        return {"prior": self.kind, **own, "factor": self.factor, "files": self.files}


def requests(
    model: Autoencoder,
    recipes: Sequence[PriorRecipe],
    *,
    factors: Sequence[float] = (1.0,),
    seed: int = 0,
    files: int = 500,
) -> list[Request]:
    """Every prior that suits a run, at every step where it rounds to one; `KL` of random codes.

    Args:
        model: the run's.
        recipes: of the priors; those that do not suit the model's codes are passed over.
        factors: of the step.
        seed: of the fits.
        files: test images written to a real file.
    """
    random, found = has_random_codes(model), []
    for recipe in recipes:
        if recipe.refusal(model.bottleneck.codes, model.prior.sites) is None:
            # A density of random codes is their aggregate posterior: nothing is rounded.
            stepped = "step" in recipe.takes and not (random and recipe.prior.prices_draws)
            steps = sorted({1.0, *factors}) if stepped else [1.0]
            found += [Request(recipe, factor, seed, files) for factor in steps]
    return [*found, Request(None, 1.0, seed, files)] if random and recipes else found


def has_random_codes(model: Autoencoder) -> bool:
    """True if the model's bottleneck gives a posterior over codes."""
    one = Split(torch.zeros(1, *model.shape))
    return next(latents(model, one)).posterior is not None


def measure(model: Autoencoder, data: Dataset, request: Request) -> tuple[dict[str, float], Prior]:
    """Test figures of a run's codes under a prior, and that prior.

    Returns:
        `bits_per_example`, `bits_per_dimension`, `mse`, `nmse`, `psnr` or `snr` on the test split
        (the prior fitted to training codes, selected on validation); `validation_bits` and
        `fit_seconds` where something was fitted. Where codes can be written under the prior:
        `file_images`, the number of test images in a real file; its `file_bits` per example
        without the header; the `file_estimate` for these images. For a lossless file the same
        with `lossless_`, and the bits of its header.

    Raises:
        TypeError: if the prior does not suit these codes.
        ValueError: if it cannot be fitted to them.
        CodecError: if a file does not give back what was written.
    """
    if request.recipe is None:
        own = model.prior
        return _random(model, own, data) | _lossless(model, data, request.files), own
    made = request.recipe.make(model, data, seed=request.seed, factor=request.factor)
    epochs, seed = request.recipe.epochs, request.seed
    fitted = fit_prior(model, data, prior=made, epochs=epochs, seed=seed)
    prior, report = fitted.prior, fitted.report
    found = {"validation_bits": report.validation, "fit_seconds": report.seconds}
    if prior.prices_draws and has_random_codes(model):
        return _random(model, prior, data) | found, prior
    found |= {
        "bits_per_example": report.test,
        "bits_per_dimension": report.test / data.dimensions,
        **_distortion(model, prior, data),
    }
    if prior.coding == "conditionals":
        found |= _in_a_file(model, prior, data.test.head(request.files))
    return found, prior


@torch.no_grad()
def samples(model: Autoencoder, prior: Prior, n: int) -> Tensor:
    """Decoded draws, the same at every call."""
    device = next(model.parameters()).device
    drawn = model.decode(prior.sample(n, torch.Generator(device).manual_seed(0)))
    return drawn.cpu().clamp(0, 1)


def _random(model: Autoencoder, prior: Prior, data: Dataset) -> dict[str, float]:
    """KL(q || prior), and the distortion of a draw."""
    own = model.prior
    model.prior = prior
    try:
        found = evaluate(model, data.test, variance=data.variance)
    finally:
        model.prior = own
    kept = ("bits_per_example", "bits_per_dimension", "mse", "nmse", "psnr", "snr")
    return {name: found[name] for name in kept if name in found}


@torch.no_grad()
def _distortion(model: Autoencoder, prior: Prior, data: Dataset) -> dict[str, float]:
    """Of the test split, its codes decoded as the prior stores them."""
    squares, done = 0.0, 0
    for latent in latents(model, data.test):
        x = data.test.batch(torch.arange(done, done + latent.batch)).to(latent.z.device)
        error = model.decode(prior.quantize(latent.code)) - x
        squares += error.double().square().flatten(1).mean(1).sum().item()
        done += latent.batch
    return quality(squares / done, data.variance, peak=not data.own_units)


def _in_a_file(model: Autoencoder, prior: Prior, split: Split) -> dict[str, float]:
    """Bits an example of a real file, read back, and what the prior says they should be."""
    codec, images = Codec(model, prior), split.batch(torch.arange(len(split)))
    blob = codec.compress(images)
    codec.codes(blob)  # refuses to return others than were written
    return {
        "file_images": len(split),
        "file_bits": (8 * len(blob) - Codec.header_bits(blob)) / len(split),
        "file_estimate": mean_bits(prior, latents_under(model, split, prior=prior)),
    }


def _lossless(model: Autoencoder, data: Dataset, most: int) -> dict[str, float]:
    """The same of images kept whole by bits-back; empty where model or data do not allow it."""
    pictures = len(data.shape) == 3 and data.levels == 256 and model.likelihood.gives_levels
    if not (model.prior.coding == "bits_back" and pictures):
        return {}
    levels = data.test.stored(torch.arange(min(most, len(data.test)))).cpu()
    codec = Codec(model, lossless=True)
    blob = codec.compress(levels)
    codec.decompress(blob)  # refuses to return others than were written
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        estimate = codec.expected_bits(levels)
    header = Codec.header_bits(blob)
    return {
        "lossless_images": len(levels),
        "lossless_header": header,
        "lossless_file_bits": (8 * len(blob) - header) / len(levels),
        "lossless_estimate": estimate / len(levels),
    }


@dataclass(frozen=True)
class Coded:
    """One finished run under one prior.

    Attributes:
        outcome: of the run.
        request: the prior.
        figures: those of `measure`; empty if it failed.
        error: the error's text if it failed, else None.
        folder: where it was measured.
    """

    outcome: Outcome[Job]
    request: Request
    figures: Mapping[str, float]
    error: str | None = None
    folder: Path = Path()

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.outcome.task.seed

    @property
    def family(self) -> str:
        """Recipe and prior: what one line of the figure joins."""
        return f"{self.outcome.task.label}, {self.request.kind}"

    @property
    def name(self) -> str:
        """The recipe, what the sweep set, the prior, and its step."""
        job, factor = self.outcome.task, self.request.factor
        step = "" if factor == 1 else f", step x{factor:g}"
        return f"{point_name(job.label, job.point)}, {self.request.kind}{step}"

    @property
    def picture(self) -> Path:
        """Where samples are, if any were drawn."""
        return self.folder / SAMPLES

    def row(self) -> dict[str, object]:
        """Of the table of all figures."""
        return {
            "label": self.outcome.task.label,
            "seed": self.seed,
            **self.outcome.task.point,
            "step_factor": self.request.factor,
            "prior": self.request.kind,
            **self.figures,
        }


def by_name(coded: Sequence[Coded]) -> dict[str, list[Coded]]:
    """The runs that did not fail, by name: one for each seed."""
    found: dict[str, list[Coded]] = {}
    for one in coded:
        if not one.error:
            found.setdefault(one.name, []).append(one)
    return found


def intervals(coded: Sequence[Coded]) -> dict[str, dict[str, tuple[float, float]]]:
    """Mean and half width of the 95 % interval over seeds of every figure, by name."""
    return {name: summarize([one.figures for one in ones]) for name, ones in by_name(coded).items()}
