"""Learned priors of a size that suits a model's codes, fitted to them."""

from typing import Any

import torch

from narrows.codes import AtomValues, Indices, atoms_of
from narrows.priors.pixelcnn import PixelCNN
from narrows.priors.sparse_autoregressive import SparseAutoregressive
from narrows.priors.transformer import AutoregressiveTransformer
from narrows.training.priors.fitting import fit_by_gradient
from narrows.training.priors.measuring import Splits, labels_of, latents


def fit_pixelcnn(  # noqa: PLR0913 (all but model and data have a default)
    model: Any,
    data: Splits,
    *,
    width: int = 64,
    layers: int = 5,
    kernel: int = 5,
    conditional: bool = False,
    epochs: int = 20,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    seed: int = 0,
) -> PixelCNN:
    """A `PixelCNN` fitted to the code maps of a model.

    Args:
        model: an `Autoencoder` with integer codes on a map of sites.
        data: its data set.
        width: hidden features.
        layers: gated layers.
        kernel: odd kernel width.
        conditional: condition on the data's labels, so that `sample(n, label=...)` draws codes
            of a class; rates are then those of the mixture of all classes.
        epochs: passes over the training codes.
        batch_size: maps per step.
        learning_rate: of AdamW, at its peak.
        seed: of initial weights and batch order.

    Returns:
        The prior of the best epoch on validation, its `report` a `PriorFit`. It does not
        become the model's until `model.prior = prior`.

    Raises:
        ValueError: if the codes are not integers on a map, or labels are wanted and missing.

    Example:
        >>> import narrows as nw
        >>> data = nw.data.load("digits")
        >>> bottleneck = nw.bottlenecks.VectorQuantizer(16, 8)
        >>> model = nw.Autoencoder.for_images(data.shape, bottleneck)
        >>> prior = nw.training.priors.fit_pixelcnn(model, data, width=8, layers=2, epochs=1)
        >>> prior.report.test > 0
        True
    """
    size, channels = _alphabet(model)
    classes = int(labels_of(data.train).max()) + 1 if conditional else None
    with _seeded(seed):
        prior = PixelCNN(
            model.prior.sites,
            size,
            channels=channels,
            hidden=width,
            layers=layers,
            kernel=kernel,
            classes=classes,
        )
    return fit_by_gradient(prior, model, data, epochs, batch_size, learning_rate, seed)


def fit_transformer(  # noqa: PLR0913
    model: Any,
    data: Splits,
    *,
    width: int = 128,
    depth: int = 4,
    heads: int = 4,
    epochs: int = 20,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> AutoregressiveTransformer:
    """An `AutoregressiveTransformer` fitted to the integer codes of a model.

    Args and Returns are those of `fit_pixelcnn`, with `depth` blocks of `heads` heads.
    """
    size, channels = _alphabet(model)
    with _seeded(seed):
        prior = AutoregressiveTransformer(
            model.prior.sites, size, channels=channels, hidden=width, depth=depth, heads=heads
        )
    return fit_by_gradient(prior, model, data, epochs, batch_size, learning_rate, seed)


def fit_sparse(  # noqa: PLR0913
    model: Any,
    data: Splits,
    *,
    step: float = 0.5,
    levels: int = 31,
    features: int = 64,
    depth: int = 2,
    epochs: int = 10,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    seed: int = 0,
) -> SparseAutoregressive:
    """A `SparseAutoregressive` fitted to the sparse codes of a model.

    Args and Returns are those of `fit_pixelcnn`; `step` and `levels` say how values are
    quantised, `features` and `depth` the transformer's size.
    """
    space = model.bottleneck.codes
    if not isinstance(space, AtomValues):
        raise ValueError("expected a model with a SparseDictionary; for others fit_pixelcnn")
    every = [atoms_of(latent.code) for latent in latents(model, data.train)]
    sites = tuple(every[0].atoms.shape[1:-1])
    width = max(int((code.values != 0).sum(-1).max()) for code in every)
    with _seeded(seed):
        prior = SparseAutoregressive(
            sites,
            space.size,
            width=max(1, width),
            step=step,
            levels=levels,
            hidden=features,
            depth=depth,
        )
    return fit_by_gradient(prior, model, data, epochs, batch_size, learning_rate, seed)


def _alphabet(model: Any) -> tuple[int, int | None]:
    """Number of codes, and codes per site if the code has an axis for them."""
    space = model.bottleneck.codes
    if not isinstance(space, Indices):
        raise ValueError(
            f"expected a model whose codes are integers, got {space}; for continuous codes fit "
            "GaussianMixture, for sparse ones SparseMixture or fit_sparse"
        )
    return space.size, space.channels


class _seeded:  # noqa: N801 (reads as a statement)
    """Draws initial weights from a seed and leaves the caller's random numbers alone."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __enter__(self) -> None:
        self.before = torch.get_rng_state()
        torch.manual_seed(self.seed)

    def __exit__(self, *_: object) -> None:
        torch.set_rng_state(self.before)
