"""Fitting a learned prior to the codes of a trained model.

Codes are computed once and held; the prior is trained on those of the training split, the epoch
is chosen by the validation split, and the test split is looked at once, at the end. Data come in
as anything with `train`, `validation` and `test` splits (`narrows.data.Dataset`), so that this
layer need not know where data come from.
"""

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from narrows.latent import Code, Latent
from narrows.priors.autoregressive import AutoregressiveTransformer
from narrows.priors.base import Prior
from narrows.priors.pixelcnn import PixelCNN
from narrows.priors.sparse_autoregressive import SparseAutoregressive
from narrows.priors.uniform import UniformCategorical

AnyPrior = TypeVar("AnyPrior", bound=Prior)


class Examples(Protocol):
    """One split of a data set: `narrows.data.Split`."""

    def __len__(self) -> int: ...

    def batch(self, index: Tensor) -> Tensor:
        """The examples of these rows, float."""
        ...

    def batch_labels(self, index: Tensor) -> Tensor | None:
        """Their labels, if there are any."""
        ...


class Splits(Protocol):
    """A data set: `narrows.data.Dataset`."""

    @property
    def train(self) -> Examples: ...  # noqa: D102
    @property
    def validation(self) -> Examples: ...  # noqa: D102
    @property
    def test(self) -> Examples: ...  # noqa: D102


@dataclass(frozen=True)
class PriorFit:
    """What fitting a prior gave; bits per example.

    Attributes:
        validation: at the epoch that was kept.
        test: of the kept prior.
        default_test: of the prior that the model had, on the same codes; NaN if it had no rate.
        epoch: the epoch kept, from 1; 0 for priors fitted in one pass.
        seconds: wall clock of the fit, codes included.
    """

    validation: float
    test: float
    default_test: float
    epoch: int
    seconds: float


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
        >>> prior = nw.priors.fit_pixelcnn(model, data, width=8, layers=2, epochs=1)
        >>> prior.report.test > 0
        True
    """
    size, channels = _alphabet(model, data)
    classes = int(_labels(data.train).max()) + 1 if conditional else None
    with _seeded(seed):
        prior = PixelCNN(model.prior.sites, size, channels, width, layers, kernel, classes)
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
    size, channels = _alphabet(model, data)
    with _seeded(seed):
        prior = AutoregressiveTransformer(model.prior.sites, size, channels, width, depth, heads)
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
    size = getattr(model.bottleneck, "size", None)
    first = next(latents(model, data.train)).code
    if not isinstance(size, int) or not isinstance(first, tuple):
        raise ValueError("expected a model with a SparseDictionary; for others fit_pixelcnn")
    sites = tuple(first[0].shape[1:-1])
    width = max(int((part.code[1] != 0).sum(-1).max()) for part in latents(model, data.train))
    with _seeded(seed):
        prior = SparseAutoregressive(sites, size, max(1, width), step, levels, features, depth)
    return fit_by_gradient(prior, model, data, epochs, batch_size, learning_rate, seed)


def fit_in_one_pass(prior: AnyPrior, model: Any, data: Splits) -> AnyPrior:
    """Fits a prior that has a `fit` of its own (histogram, mixture, support) to training latents.

    Returns:
        The same prior, its `report` a `PriorFit`.
    """
    began = time.perf_counter()
    prior.fit(latents(model, data.train))
    return measured(prior, model, data, began)


def measured(prior: AnyPrior, model: Any, data: Splits, began: float | None = None) -> AnyPrior:
    """The prior as it is, with a `report` on how many bits the held-out codes take under it.

    Args:
        prior: fitted, or one with nothing to fit.
        model: an `Autoencoder`.
        data: its data set.
        began: when fitting began, by `time.perf_counter`.
    """
    began = time.perf_counter() if began is None else began
    validation, test = (
        bits(prior, latents(model, split)) for split in (data.validation, data.test)
    )
    return _reported(prior, model, data, (validation, test, 0, began))


def fit_by_gradient(
    prior: AnyPrior,
    model: Any,
    data: Splits,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int = 0,
) -> AnyPrior:
    """Trains any prior with parameters by AdamW on its rate; keeps the best validation epoch.

    Raises:
        ValueError: if epochs or batch_size are below 1.
    """
    if epochs < 1 or batch_size < 1:
        raise ValueError(
            f"expected epochs and batch_size of at least 1, got {epochs} and {batch_size}"
        )
    began = time.perf_counter()
    device = next(model.parameters()).device
    prior = prior.to(device)
    train, validation = ([*latents(model, part)] for part in (data.train, data.validation))
    codes = _joined([prior.quantize(latent.code) for latent in train])
    best, kept, state = math.inf, 0, copy.deepcopy(prior.state_dict())
    labels = _labels(data.train).to(device) if getattr(prior, "classes", None) else None
    steps = _Steps(prior, (codes, labels), epochs, batch_size, learning_rate, seed)
    for epoch in range(1, epochs + 1):
        steps.epoch()
        held_out = bits(prior, validation)
        if held_out < best:
            best, kept, state = held_out, epoch, copy.deepcopy(prior.state_dict())
    prior.load_state_dict(state)
    prior.eval()
    test = bits(prior, latents(model, data.test))
    return _reported(prior, model, data, (best, test, kept, began))


@torch.no_grad()
def latents(model: Any, split: Examples, batch_size: int = 256) -> Iterator[Latent]:
    """The eval latents of a split, batch by batch."""
    device, training = next(model.parameters()).device, model.training
    model.eval()
    try:
        for start in range(0, len(split), batch_size):
            rows = torch.arange(start, min(start + batch_size, len(split)))
            with torch.no_grad():
                latent = model.latent(split.batch(rows).to(device))
            yield latent
    finally:
        model.train(training)


@torch.no_grad()
def bits(prior: Prior, every: Any) -> float:
    """Mean rate of latents in bits per example, the codes quantised as the prior stores them.

    Raises:
        ValueError: if there are no latents.
    """
    total, count = 0.0, 0
    for latent in every:
        total += prior.rate(_stored(prior, latent)).double().sum().item()
        count += latent.batch
    if not count:
        raise ValueError("expected at least one example to measure the rate on, got none")
    return total / count / math.log(2)


class _Steps:
    """AdamW on the mean rate, a short warm-up and a cosine to zero."""

    def __init__(
        self,
        prior: Prior,
        data: tuple[Code, Tensor | None],
        epochs: int,
        batch_size: int,
        learning_rate: float,
        seed: int,
    ) -> None:
        self.prior, self.batch_size = prior, batch_size
        self.codes, self.labels = data
        self.n = (self.codes[0] if isinstance(self.codes, tuple) else self.codes).shape[0]
        self.order = torch.Generator().manual_seed(seed)
        total = epochs * math.ceil(self.n / batch_size)
        # Weight decay also keeps weights small enough for exact (fixed-point) evaluation.
        self.optimizer = torch.optim.AdamW(
            prior.parameters(), learning_rate, betas=(0.9, 0.98), weight_decay=0.01
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, _rate(total))

    def epoch(self) -> None:
        """One pass over the codes in a new order."""
        self.prior.train()
        for rows in torch.randperm(self.n, generator=self.order).split(self.batch_size):
            loss = self._nats(rows).mean()
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.prior.parameters(), 1.0)
            self.optimizer.step()
            self.schedule.step()
        self.prior.eval()

    def _nats(self, rows: Tensor) -> Tensor:
        code = _rows(self.codes, rows)
        if self.labels is None:
            return self.prior.rate(_latent(code))
        assert isinstance(self.prior, PixelCNN)
        assert isinstance(code, Tensor)
        return -self.prior.log_prob(code, self.labels[rows])


def _labels(split: Examples) -> Tensor:
    labels = split.batch_labels(torch.arange(len(split)))
    if labels is None:
        raise ValueError("a class-conditional prior needs labels, and these data have none")
    return labels


def _rate(total: int) -> Callable[[int], float]:
    warm = max(1, total // 20)
    return lambda step: min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / total))


def _alphabet(model: Any, data: Splits) -> tuple[int, int | None]:
    """Number of codes, and codes per site if the code has an axis for them."""
    code = next(latents(model, data.train, 2)).code
    own = model.prior
    size = getattr(own, "categories" if isinstance(own, UniformCategorical) else "size", None)
    if isinstance(code, tuple) or code.is_floating_point() or not isinstance(size, int):
        raise ValueError(
            f"expected a model whose codes are integers (its prior is {type(own).__name__})"
            "; for continuous codes fit GaussianMixture, for sparse ones SparsePrior or fit_sparse"
        )
    each = tuple(code.shape[1 + len(own.sites) :])
    return size, math.prod(each) if each else None


def _stored(prior: Prior, latent: Latent) -> Latent:
    return dataclasses.replace(latent, code=prior.quantize(latent.code))


def _latent(code: Code) -> Latent:
    part = code[0] if isinstance(code, tuple) else code
    empty = torch.zeros(part.shape[0], 0, device=part.device)
    return Latent(z=empty, code=code, features=empty)


def _rows(code: Code, rows: Tensor) -> Code:
    return tuple(part[rows] for part in code) if isinstance(code, tuple) else code[rows]


def _joined(codes: list[Code]) -> Code:
    first = codes[0]
    if isinstance(first, Tensor):
        return torch.cat([code for code in codes if isinstance(code, Tensor)])
    # Sparse codes of different batches may be of different widths; zeros are padding.
    widest = max(part.shape[-1] for code in codes for part in code)
    return tuple(
        torch.cat([
            torch.nn.functional.pad(code[i], (0, widest - code[i].shape[-1])) for code in codes
        ])
        for i in range(len(first))
    )  # fmt: skip


def _reported(
    prior: AnyPrior, model: Any, data: Splits, figures: tuple[float, float, int, float]
) -> AnyPrior:
    validation, test, epoch, began = figures
    try:
        default = bits(model.prior, latents(model, data.test))
    except ValueError:
        default = math.nan
    seconds = time.perf_counter() - began
    report = PriorFit(validation, test, default, epoch, seconds)
    object.__setattr__(prior, "report", report)  # a plain attribute, not part of the state
    return prior


class _seeded:  # noqa: N801 (reads as a statement)
    """Draws initial weights from a seed and leaves the caller's random numbers alone."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __enter__(self) -> None:
        self.before = torch.get_rng_state()
        torch.manual_seed(self.seed)

    def __exit__(self, *_: object) -> None:
        torch.set_rng_state(self.before)
