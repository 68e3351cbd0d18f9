"""The three models of the slides on their tasks: one trial gives all that its claims ask."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression
from torch import Tensor

from narrows import metrics
from narrows.autoencoder import Autoencoder
from narrows.bottlenecks import Variational
from narrows.data.dataset import Dataset, Split
from narrows.data.loaders import templates
from narrows.distributions import Cauchy, Laplace
from narrows.likelihoods import Likelihood
from narrows.metrics.information import divergence_per_unit
from narrows.networks import Mlp
from narrows.tasks import Call, Result
from narrows.training import Run, latents
from reproductions.claim import Evidence, Plain, Scale
from reproductions.training import Setting, decoded, labels, train, whole

KINDS = ("normal", "laplace", "cauchy")
"""The document's three: normal posterior and prior; Laplace prior under a normal posterior with
its divergence by one draw, as the document computes it; Cauchy posterior and prior."""

Truth = tuple[tuple[NDArray[np.float64], NDArray[np.float64]], Tensor]
"""Weights of the templates (train, test), and the clean test images."""


@dataclass(frozen=True)
class Task:
    """One of the document's tasks, with sizes that it does not give and we choose.

    Attributes:
        data: name of the source; "templates" are made with known weights, "images" are the
            labelled images that the command is about.
        dim: width of the code.
        hidden: widths of the encoder's hidden layers.
        train: training examples, by default.
        epochs: by default and in full.
        size: side of the images, where the source takes it; else 0.
    """

    data: str
    dim: int
    hidden: tuple[int, ...]
    train: int
    epochs: tuple[int, int]
    size: int = 0

    def trial(self, scale: Scale, kind: str, seed: int) -> Call:
        """The training and measuring of one model."""
        arguments: dict[str, Plain] = {
            "data": scale.images() if self.data == "images" else self.data,
            "size": self.size,
            "kind": kind,
            "dim": self.dim,
            "hidden": " ".join(map(str, self.hidden)),
            "train_examples": scale.pick(60, self.train, 60_000),
            "test_examples": scale.pick(40, 2000, 10_000),
            "epochs": scale.pick(1, *self.epochs),
            "seed": seed,
        }
        return Call(family, arguments)

    def trials(self, scale: Scale) -> list[Call]:
        """All three models with every seed."""
        return [self.trial(scale, kind, seed) for kind in KINDS for seed in range(scale.seeds)]


def bottleneck(kind: str, dim: int) -> Variational:
    """The latent of one of `KINDS`."""
    if kind == "laplace":
        return Variational(dim, prior=Laplace(), kl="monte_carlo")
    return Variational(dim, posterior=Cauchy()) if kind == "cauchy" else Variational(dim)


def family(folder: Path, **setting: Any) -> Result:
    """Trains one model and measures reconstruction, code and what can be read from it."""
    examples, truth, run = fitted(folder, **setting)
    model, y = run.model, whole(examples.test)
    kl = divergence_per_unit(model, latents(model, examples.test))
    codes, new = z_of(model, whole(examples.train)), z_of(model, y)
    found: dict[str, Any] = {
        "mse": run.test["mse_mean"],
        "mse_draw": run.test["mse"],
        "nmse": run.test["mse_mean"] / examples.variance,
        "bits": float(kl.sum()) / np.log(2),
        "longer_axis": longer_axis(new),
        "visible_change": visible_change(model, new),
        "hoyer_code": float(metrics.hoyer(code_of(model, y)).nanmean()),
        "active_units": run.test["active_units"],
        "copies": model.reconstruct(y[:10]).numpy().astype(np.float16),
        "originals": y[:10].numpy().astype(np.float16),
        "hoyer": float(metrics.hoyer(new).nanmean()),
        "near_zero": float(metrics.near_zero(new).nanmean()),
        "kl": kl.numpy(),
        "codes": new[:1000].numpy().astype(np.float16),
        "medians": code_of(model, y[:1000]).numpy(),
        "code_labels": labels(examples.test)[:1000].numpy(),
        "fields": fields(model).astype(np.float16),
    }
    if truth is None:
        return found | classes_read(examples, codes, new)
    return found | factors_read(truth, codes, new) | errors(model, y, truth[1])


def fitted(
    folder: Path,
    *,
    size: int,
    kind: str,
    dim: int,
    hidden: str,
    likelihood: Likelihood | None = None,
    **rest: Any,
) -> tuple[Dataset, Truth | None, Run]:
    """The data, what they were made of where that is known, and a model trained on them."""
    setting = Setting(**rest)
    examples, truth = load(setting, size)
    network = Mlp(tuple(int(width) for width in hidden.split()))
    latent = bottleneck(kind, dim)
    return examples, truth, train(folder, examples, latent, network, setting, likelihood=likelihood)


def classes_read(examples: Dataset, codes: Tensor, new: Tensor) -> dict[str, float]:
    """What can be read of the class from held-out codes, by readers trained on training codes."""
    read = (codes, labels(examples.train)), (new, labels(examples.test))
    return {
        "linear_probe": metrics.linear_probe(*read),
        "knn_probe": metrics.knn_probe(*read),
        "label_bits": label_information(new, labels(examples.test)),
    }


def factors_read(truth: Truth, codes: Tensor, new: Tensor) -> dict[str, Any]:
    """How well the true weights can be read from held-out codes, linearly."""
    known, wanted = truth[0]
    reader = LinearRegression().fit(codes.numpy(), known)
    return {"weights_r2": float(reader.score(new.numpy(), wanted)), "weights": wanted[:1000]}


def errors(model: Autoencoder, y: Tensor, clean: Tensor) -> dict[str, float]:
    """Squared errors of reconstructions, and of the noisy images, against images without noise."""
    return {
        "mse_clean": float((model.reconstruct(y) - clean).square().mean()),
        "mse_noise": float((y - clean).square().mean()),
    }


def load(setting: Setting, size: int) -> tuple[Dataset, Truth | None]:
    """The data; of templates also the true weights (train, test) and the clean test images."""
    if setting.data != "templates":
        return setting.images(**({"size": size} if size else {})), None
    n, test = min(setting.train_examples, 4000), setting.test_examples
    images, weights = templates.draw(n + 2 * test, size, 0.05, seed=0)
    clean = np.tensordot(weights[-test:], templates.templates(size), 1)[:, None]
    classes = torch.from_numpy((weights[:, 1] > weights[:, 0]).astype(np.int64))
    stored = torch.from_numpy(images.astype(np.float32))
    parts = (slice(0, n), slice(n, n + test), slice(n + test, None))
    trained, held, last = (Split(stored[part], classes[part]) for part in parts)
    data = Dataset(f"templates {size}x{size}", trained, held, last)
    return data, ((weights[:n], weights[-test:]), torch.from_numpy(clean).float())


@torch.no_grad()
def z_of(model: Autoencoder, x: Tensor) -> Tensor:
    """What the decoder is given, `[n, dim]`, without noise."""
    return torch.cat([model.latent(batch).z.flatten(1) for batch in x.split(512)])


def longer_axis(z: Tensor) -> float:
    """Share of the variance of codes `[n, dim]` on their first principal axis."""
    spectrum = torch.linalg.eigvalsh(z.T.double().cov())
    return float(spectrum[-1] / spectrum.sum())


@torch.no_grad()
def visible_change(model: Autoencoder, z: Tensor) -> float:
    """Mean over coordinates of the image's RMS change from their 5 % to their 95 % quantile."""
    middle = z.median(0).values
    ends = torch.quantile(z, torch.tensor([0.05, 0.95]), 0)
    low, high = (middle.repeat(len(middle), 1).diagonal_scatter(end) for end in ends)
    change = decoded(model, high) - decoded(model, low)
    return float(change.flatten(1).square().mean(1).sqrt().mean())


@torch.no_grad()
def code_of(model: Autoencoder, x: Tensor) -> Tensor:
    """The code itself, `[n, dim]`: posterior means (medians)."""
    parts = [torch.as_tensor(model.latent(batch).code).flatten(1) for batch in x.split(512)]
    return torch.cat(parts)


@torch.no_grad()
def fields(model: Autoencoder) -> NDArray[np.floating]:
    """The decoder's change per unit of each coordinate, at the middle: `[dim, *shape]`."""
    middle = torch.zeros(1, model.bottleneck.out_features)
    steps = torch.eye(model.bottleneck.out_features)
    change = model.decoder(middle + steps) - model.decoder(middle - steps)
    return (change / 2).reshape(-1, *model.shape).numpy()


def label_information(codes: Tensor, classes: Tensor, bins: int = 20, shuffles: int = 5) -> float:
    """Mean over coordinates of I(class; coordinate) in bits.

    The coordinate is cut at its quantiles, so that no monotone change of scale matters; what
    shuffled labels give, which is the bias of so many cells, is taken off.
    """
    random = np.random.default_rng(0)
    answers = classes.numpy()
    total = 0.0
    for column in codes.numpy().T:
        cells = np.searchsorted(np.quantile(column, np.linspace(0, 1, bins + 1)[1:-1]), column)
        bias = [_information(cells, random.permutation(answers)) for _ in range(shuffles)]
        total += _information(cells, answers) - float(np.mean(bias))
    return total / codes.shape[1]


def _information(first: NDArray[Any], second: NDArray[Any]) -> float:
    joint = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(joint, (first, second), 1 / len(first))
    product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    some = joint > 0
    return float((joint[some] * np.log2(joint[some] / product[some])).sum())


def rows(evidence: Evidence, **where: Plain) -> dict[str, NDArray[Any]]:
    """Originals and each model's copies, of the first seed, for `report.strips`."""
    found = {"originals": evidence.array("originals", kind="normal", **where)}
    for kind in KINDS:
        found[kind] = evidence.array("copies", kind=kind, **where)
    return {name: images.astype(np.float64).clip(0, 1) for name, images in found.items()}


TEMPLATES = Task("templates", 2, (), 2000, (150, 200), size=5)
LARGE_TEMPLATES = Task("templates", 2, (), 2000, (100, 200), size=10)
DIGITS = Task("images", 10, (256,), 5000, (20, 100))
PLANE = Task("images", 2, (256, 256), 5000, (30, 100))
SCENES = Task("cifar10_grey", 32, (), 6000, (20, 100), size=16)
