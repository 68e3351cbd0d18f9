"""What the codes of a finished run cost under one prior: estimated, and in a real file."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.codec import Codec, bits_back
from narrows.codec.pixels import gives_levels
from narrows.data.dataset import Dataset, Split
from narrows.priors.base import Prior
from narrows.priors.categorical import UniformCategorical
from narrows.priors.factorial import Factorial
from narrows.priors.gaussian_mixture import GaussianMixture
from narrows.priors.spike_and_slab import SpikeAndSlabPrior
from narrows.training.evaluation import evaluate
from narrows.training.priors.kinds import KINDS, Settings, fit_kind, suits
from narrows.training.priors.measuring import bits, latents

KL = "KL"
"""The kind of a random code's own prior: what a draw costs, which only bits-back attains."""
_RANDOM = (Factorial, SpikeAndSlabPrior, UniformCategorical)
_BITS_BACK = (Factorial, SpikeAndSlabPrior)


@dataclass(frozen=True)
class Request:
    """One prior to code a run under.

    Attributes:
        kind: a name in `narrows.training.priors.kinds.KINDS`, or `KL`.
        settings: of its fit.
        files: test images written to a real file.
    """

    kind: str
    settings: Settings
    files: int

    @property
    def stem(self) -> str:
        """Of the files it is kept in: changes with whatever changes the result."""
        reads = () if self.kind == KL else KINDS[self.kind].reads
        parts = {name: getattr(self.settings, name) for name in reads} | {"files": self.files}
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:8]
        return f"coded-{self.kind}-x{self.settings.coarseness:g}-{digest}"


def requests(
    prior: Prior, kinds: Sequence[str], factors: Sequence[float], settings: Settings, files: int
) -> list[Request]:
    """Every prior of the given kinds that suits a run, at every step where it rounds to one.

    Args:
        prior: the run's own.
        kinds: names in `KINDS`; those that do not suit are passed over.
        factors: of the step.
        settings: of the fits.
        files: test images written to a real file.
    """
    random = isinstance(prior, _RANDOM)
    found = []
    for kind in kinds:
        if suits(kind, prior):
            # A mixture of random codes is their aggregate posterior: nothing is rounded.
            stepped = KINDS[kind].stepped and not (random and kind == "mixture")
            for factor in sorted({1.0, *factors}) if stepped else [1.0]:
                coarse = dataclasses.replace(settings, coarseness=factor)
                found.append(Request(kind, coarse, files))
    return [*found, Request(KL, settings, files)] if random and kinds else found


def measure(model: Autoencoder, data: Dataset, request: Request) -> tuple[dict[str, float], Prior]:
    """Test figures of a run's codes under a prior, and that prior.

    Returns:
        `bits_per_example`, `bits_per_dimension`, `mse`, `nmse`, `psnr` on the test split (the
        prior fitted to training codes, selected on validation); `validation_bits` and
        `fit_seconds` where something was fitted; for a file of the first test images
        `file_images`, its `file_bits` per example without its header, and the `file_estimate`
        of them; for a lossless one the same with `lossless_`, and the bits of its header.

    Raises:
        ValueError: if the prior cannot be fitted to these codes.
        CodecError: if a file does not give back what was written.
    """
    if request.kind == KL:
        return _random(model, model.prior, data) | _lossless(model, data, request.files), (
            model.prior
        )
    prior = fit_kind(request.kind, model, data, request.settings)
    report = getattr(prior, "report")  # noqa: B009 (set by the fit)
    fitted = {"validation_bits": report.validation, "fit_seconds": report.seconds}
    if isinstance(prior, GaussianMixture) and not prior.rounds:
        return _random(model, prior, data) | fitted, prior
    found = _stored(model, prior, data) | _in_a_file(model, prior, data.test, request.files)
    return found | fitted, prior


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
        found = evaluate(model, data.test, data.variance)
    finally:
        model.prior = own
    kept = ("bits_per_example", "bits_per_dimension", "mse", "nmse", "psnr")
    return {name: found[name] for name in kept}


@torch.no_grad()
def _stored(model: Autoencoder, prior: Prior, data: Dataset) -> dict[str, float]:
    """Rate and distortion of the test codes as the prior stores them."""
    nats = squares = 0.0
    done = 0
    for latent in latents(model, data.test):
        x = data.test.batch(torch.arange(done, done + latent.batch)).to(latent.z.device)
        code = prior.quantize(latent.code)
        nats += prior.rate(dataclasses.replace(latent, code=code)).double().sum().item()
        squares += (model.decode(code) - x).double().square().flatten(1).mean(1).sum().item()
        done += latent.batch
    rate, mse = nats / done / math.log(2), squares / done
    return {
        "bits_per_example": rate,
        "bits_per_dimension": rate / data.dimensions,
        "mse": mse,
        "nmse": mse / data.variance,
        "psnr": -10 * math.log10(mse) if mse > 0 else math.inf,
    }


def _in_a_file(model: Autoencoder, prior: Prior, test: Split, most: int) -> dict[str, float]:
    """Bits an example of a real file, read back, and what the prior says they should be."""
    images = test.batch(torch.arange(min(most, len(test))))
    codec = Codec(model, prior)
    blob = codec.compress(images)
    codec.codes(blob)  # refuses to return others than were written
    return {
        "file_images": len(images),
        "file_bits": (8 * len(blob) - Codec.header_bits(blob)) / len(images),
        "file_estimate": bits(prior, latents(model, test.head(len(images)))),
    }


def _lossless(model: Autoencoder, data: Dataset, most: int) -> dict[str, float]:
    """The same of images kept whole by bits-back; empty where model or data do not allow it."""
    prior = model.prior
    if not (isinstance(prior, _BITS_BACK) and len(data.shape) == 3 and data.levels == 256):
        return {}
    if not gives_levels(model.likelihood):
        return {}
    levels = data.test.stored(torch.arange(min(most, len(data.test)))).cpu()
    codec = Codec(model, lossless=True)
    blob = codec.compress(levels)
    codec.decompress(blob)  # refuses to return others than were written
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        estimate = bits_back.expected(model.eval(), prior, levels.long())
    header = Codec.header_bits(blob)
    return {
        "lossless_images": len(levels),
        "lossless_header": header,
        "lossless_file_bits": (8 * len(blob) - header) / len(levels),
        "lossless_estimate": estimate / len(levels),
    }
