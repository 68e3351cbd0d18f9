"""A classifier trained on images, and how much of what it reads survives."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from narrows.networks.standardize import Standardize

FEATURES = 64
"""Few, since the Frechet distance is biased by the ratio of features to samples."""


class Classifier(nn.Module):
    """Images -> 64 features -> class logits; three convolutions, or two layers for vectors.

    Args:
        shape: `(channels, height, width)` or `(d,)` of one example.
        classes: number of classes.
    """

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        if len(shape) == 1:
            self.body: nn.Sequential = nn.Sequential(
                Standardize(shape), nn.Linear(shape[0], 2 * FEATURES), nn.ReLU(),
                nn.Linear(2 * FEATURES, FEATURES),
            )  # fmt: skip
        else:
            layers: list[nn.Module] = []
            for before, after, stride in ((shape[0], 32, 1), (32, 64, 2), (64, FEATURES, 2)):
                layers += [nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after), nn.ReLU()]
            self.body = nn.Sequential(*layers[:-1], nn.AdaptiveAvgPool2d(2), nn.Flatten())
            self.body.append(nn.Linear(4 * FEATURES, FEATURES))
        self.head: nn.Linear = nn.Linear(FEATURES, classes)

    def features(self, x: Tensor) -> Tensor:
        """`[batch, 64]`, what the classes are read from."""
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[batch, classes]`."""
        return self.head(F.relu(self.features(x)))


def train_classifier(
    images: Tensor, labels: Tensor, *, epochs: int = 15, batch_size: int = 64, seed: int = 0
) -> Classifier:
    """Trains a `Classifier` from its seed; the caller's random numbers are left alone.

    Adam with a one-cycle schedule on the cross-entropy, examples in a new order every epoch.

    Args:
        images: `[n, channels, height, width]` or `[n, d]`, float.
        labels: `[n]`, int64.
        epochs: passes.
        batch_size: at most n.
        seed: of the weights and the order.

    Returns:
        The classifier in eval, on the images' device.

    Raises:
        ValueError: unless there is one label for each of at least two images.
    """
    if len(images) != len(labels) or len(images) < 2:
        raise ValueError(
            f"expected one label for each of at least 2 images, got {len(images)} images and "
            f"{len(labels)} labels"
        )
    devices = [images.device] if images.is_cuda else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        model = Classifier(tuple(images.shape[1:]), int(labels.max()) + 1).to(images)
        if isinstance(first := model.body[0], Standardize):
            exact = images.double()
            first.learn(exact.mean(0), exact.var(0, correction=0).mean().item())
        batch_size = min(batch_size, len(images))
        steps = epochs * (len(images) // batch_size)
        optimiser = torch.optim.Adam(model.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
        for _ in range(epochs):
            order = torch.randperm(len(images), device=images.device)
            for index in order[: len(order) // batch_size * batch_size].split(batch_size):
                optimiser.zero_grad()
                F.cross_entropy(model(images[index]), labels[index]).backward()
                optimiser.step()
                schedule.step()
    return model.eval()


def accuracy(
    classifier: nn.Module, images: Tensor, *, labels: Tensor, batch_size: int = 512
) -> float:
    """Share of images whose most probable class is their label."""
    answers = in_batches(classifier, images, batch_size).argmax(1)
    return int((answers == labels).sum()) / len(labels)


def extract(classifier: Classifier, images: Tensor, *, batch_size: int = 512) -> Tensor:
    """Features `[n, 64]` of images, batch by batch, in float64 for the distances."""
    return in_batches(classifier.features, images, batch_size).double()


def retention(
    reconstruct: Callable[[Tensor], Tensor],
    train: tuple[Tensor, Tensor],
    *,
    test: tuple[Tensor, Tensor],
    epochs: int = 15,
    seed: int = 0,
    real: Classifier | None = None,
) -> dict[str, float]:
    """Test accuracies of one classifier, trained and tested on originals or reconstructions.

    `real_on_reconstructed` falls where reconstructions look different to a reader of real
    images; `reconstructed_on_real` where they lack what has to be learned. A code can lose
    the former by a mere change of contrast, so read both, and against `real_on_real`.

    Args:
        reconstruct: images -> their reconstructions, such as `Autoencoder.reconstruct`.
        train: images `[n, ...]` and labels `[n]`.
        test: the same of other examples.
        epochs: of the classifier's training.
        seed: of the classifier, the same in every case.
        real: what `train_classifier` made of the training images with these settings, if it
            has been made already.

    Returns:
        `real_on_real`, `real_on_reconstructed`, `reconstructed_on_real`: "trained_on_tested",
        accuracies between 0 and 1.
    """
    (images, labels), (new, answers) = train, test
    real = real or train_classifier(images, labels, epochs=epochs, seed=seed)
    copies = train_classifier(in_batches(reconstruct, images), labels, epochs=epochs, seed=seed)
    return {
        "real_on_real": accuracy(real, new, labels=answers),
        "real_on_reconstructed": accuracy(real, in_batches(reconstruct, new), labels=answers),
        "reconstructed_on_real": accuracy(copies, new, labels=answers),
    }


@torch.no_grad()
def in_batches(function: Callable[[Tensor], Tensor], images: Tensor, size: int = 256) -> Tensor:
    """A function of batches applied to a whole set."""
    return torch.cat([function(batch) for batch in images.split(size)])
