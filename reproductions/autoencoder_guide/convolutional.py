"""Plain, variational and vector-quantised latents on one convolutional network."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from narrows import metrics
from narrows.autoencoder import Autoencoder
from narrows.bottlenecks import Bottleneck, CodebookLearning, Identity, Variational, VectorQuantizer
from narrows.data.dataset import Dataset
from narrows.networks import Conv
from narrows.tasks import Call, Result
from narrows.training.priors import find_recipe, fit_prior
from reproductions.autoencoder_guide.measures import READ, reader, small
from reproductions.autoencoder_guide.models import likelihood, sizes
from reproductions.claim import Scale
from reproductions.training import Setting, copies, train, whole

KINDS = ("ae", "vae", "vq")
WEIGHTS = (0.00001, 0.0001, 0.001)
WEIGHT = 0.001
CODES = 64
WIDTH = 2
"""With 16 numbers a site the VAE collapses at this weight, and the AE has no bottleneck."""
COMMITMENT = 0.25


def trial(scale: Scale, kind: str, seed: int, weight: float = WEIGHT) -> Call:
    """The training and measuring of one model."""
    hidden, epochs = scale.pick(8, 32, 128), scale.pick(1, 80, 25)
    rest = {"kind": kind, "weight": weight, "hidden": hidden, "epochs": epochs, "seed": seed}
    few = {"train_examples": scale.pick(80, 1000, 60_000)}
    few["test_examples"] = scale.pick(60, 1000, 10_000)
    return Call(convolutional, {**sizes(scale), **few, **rest})


def trials(scale: Scale) -> list[Call]:
    """All three, with every seed."""
    return [trial(scale, kind, seed) for kind in KINDS for seed in range(scale.seeds)]


def curve(scale: Scale) -> list[Call]:
    """The same, and the variational one at further weights: sharpness over bits."""
    further = [weight for weight in WEIGHTS if weight != WEIGHT]
    more = [trial(scale, "vae", s, weight) for weight in further for s in range(scale.seeds)]
    return trials(scale) + more


def quantised(scale: Scale) -> list[Call]:
    """The vector-quantised one alone."""
    return [trial(scale, "vq", seed) for seed in range(scale.seeds)]


def bottleneck(kind: str) -> Bottleneck:
    """The latent of a kind: 2 numbers a site, or one of 64 vectors of 2."""
    if kind == "vq":
        return VectorQuantizer(
            CODES, WIDTH, learning=CodebookLearning(method="gradient"), commitment=COMMITMENT
        )
    return Variational(WIDTH) if kind == "vae" else Identity(WIDTH)


def convolutional(folder: Path, *, kind: str, weight: float, hidden: int, **rest: Any) -> Result:
    """Trains one of the three and measures errors, losses, sharpness and, of codes, samples."""
    setting = Setting(**rest)
    examples = setting.images()
    network = Conv(hidden, 2, residual_hidden=max(4, hidden // 4), downsamplings=2)
    # The mean over pixels plus terms that are means over features, as the document's loss is:
    # with 2 s^2 = 1 the squared error is a sum over D pixels, and terms are sums over features.
    scale = likelihood(examples, weight if kind == "vae" else 1 / examples.dimensions)
    run = train(folder, examples, bottleneck(kind), network, setting, likelihood=scale)
    model, y = run.model, whole(examples.test)
    again = copies(model, y)
    found: dict[str, Any] = {
        "mse": float((again - y).square().mean()),
        "bits": run.test["bits_per_example"],
        "copies": small(again[:10]),
        "originals": small(y[:10]),
        **metrics.sharpness(again, y),
    }
    found["loss"] = found["mse"] + extra(model, y, weight, run.test)
    if kind == "vq":
        found["usage"] = run.test["usage"]
        judge = reader(setting.data, min(READ, setting.train_examples))
        found |= drawn(model, examples, judge, setting)
        found["by_distance"] = by_distance(model, y, setting.seed)
    return found


@torch.no_grad()
def extra(model: Autoencoder, y: Tensor, weight: float, test: dict[str, float]) -> float:
    """What the document's loss adds to the mean squared error over pixels."""
    if isinstance(model.bottleneck, Variational):
        return weight * test["kl_nats"]
    if not isinstance(model.bottleneck, VectorQuantizer):
        return 0.0
    gaps = [
        (latent.z - latent.features).square().mean()
        for latent in (model.latent(batch) for batch in y.split(500))
    ]
    return (1 + COMMITMENT) * float(torch.stack(gaps).mean())


TEMPERATURES = (0.0, 0.03, 0.1, 0.3, 1.0)


@torch.no_grad()
def by_distance(model: Autoencoder, y: Tensor, seed: int) -> NDArray[np.float64]:
    """MSE of copies whose codes are drawn, p(k) ~ exp(-|x - c_k|^2 / (t v)), for each t.

    v is the mean squared distance of a feature to its nearest code; t = 0 takes that code.
    """
    codes = cast(Any, model.bottleneck).codebook.codes
    generator, found = torch.Generator().manual_seed(seed), []
    features = torch.cat([model.latent(batch).features for batch in y.split(500)])
    far = torch.cdist(features.flatten(0, -2), codes).square()
    unit = far.min(1).values.mean()
    for t in TEMPERATURES:
        chances = torch.softmax(-far / (max(t, 1e-9) * unit), 1)
        code = torch.multinomial(chances, 1, generator=generator).view(features.shape[:-1])
        images = torch.cat([model.decode(part) for part in code.split(500)])
        found.append(float((images - y).square().mean()))
    return np.array(found)


def drawn(
    model: Autoencoder, data: Dataset, judge: metrics.Classifier, setting: Setting
) -> dict[str, Any]:
    """Samples from uniform codes and from a PixelCNN's, and their distances to real images."""
    y = whole(data.test)
    real, count = metrics.extract(judge, y), min(1000, len(y) // 2)
    generator = torch.Generator().manual_seed(setting.seed)
    uniform = torch.randint(CODES, (count, *model.sites), generator=generator)
    passes = max(8, setting.epochs)
    recipe = find_recipe("pixelcnn").with_options({"hidden": 32, "layers": 4})
    fitted = fit_prior(model, data, prior=recipe, epochs=passes, seed=setting.seed)
    prior, found = fitted.prior, {"pixelcnn_bits": fitted.report.test}
    for name, code in (("uniform", uniform), ("pixelcnn", prior.sample(count, generator))):
        images = model.decode(code)
        features = metrics.extract(judge, images)
        distance, floor = metrics.against_floor(metrics.kid, features, real=real)
        half = real[: len(features)]
        found |= {
            f"kid_{name}": distance,
            "kid_floor": floor,
            f"precision_{name}": metrics.precision_recall(features, half)["precision"],
            f"samples_{name}": small(images[:10]),
        }
    return found
