"""Two small models of scikit-learn's digits to look at, where there is no run yet."""

import torch

from narrows.autoencoder import Autoencoder
from narrows.compare.demo import LATENTS, network
from narrows.data import Dataset, load
from narrows.training import Optimization, fit

SHOWN = ("vq", "variational", "sparse")
"""Whose codes are edited in different ways."""


def demo(*, epochs: int = 12, seed: int = 0) -> tuple[Dataset, dict[str, Autoencoder]]:
    """Trains them in a few seconds; the codes of the quantised one get a prior that completes.

    Args:
        epochs: passes over the 1,257 training digits.
        seed: of weights and batch order.
    """
    data, models = load("digits"), dict[str, Autoencoder]()
    for name in SHOWN:
        torch.manual_seed(seed)
        beta = 0.1 if name == "variational" else 1.0  # more bits, sooner than few good ones
        model = Autoencoder.for_images(data.shape, LATENTS[name](), network=network(), beta=beta)
        steps = Optimization(learning_rate=2e-3, clip=1.0)
        models[name] = fit(model, data, epochs=epochs, optimization=steps, seed=seed).model
    return data, models
