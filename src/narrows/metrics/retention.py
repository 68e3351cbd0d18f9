"""What reconstructions retain of what a classifier needs."""

from collections.abc import Callable

import torch
from torch import Tensor

from narrows.metrics.classifier import Classifier, accuracy, train_classifier


def retention(
    reconstruct: Callable[[Tensor], Tensor],
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    *,
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
        "real_on_real": accuracy(real, new, answers),
        "real_on_reconstructed": accuracy(real, in_batches(reconstruct, new), answers),
        "reconstructed_on_real": accuracy(copies, new, answers),
    }


@torch.no_grad()
def in_batches(function: Callable[[Tensor], Tensor], images: Tensor, size: int = 256) -> Tensor:
    """A function of batches applied to a whole set."""
    return torch.cat([function(batch) for batch in images.split(size)])
