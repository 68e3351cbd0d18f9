"""Fitting a prior to the codes of a trained model.

Codes are computed once and held; the prior is trained on those of the training split, the epoch
is chosen by the validation split, and the test split is looked at once, at the end.
"""

import copy
import logging
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from narrows.codes import Code, concatenate, length, one_tensor, rows, tensors
from narrows.latent import Latent
from narrows.priors.base import Prior
from narrows.priors.pixelcnn import PixelCNN
from narrows.training.priors.measuring import (
    AnyPrior,
    Splits,
    bits,
    labels_of,
    latents,
    measured,
    reported,
)

_log = logging.getLogger(__name__)


def fit_in_one_pass(prior: AnyPrior, model: Any, data: Splits) -> AnyPrior:
    """Fits a prior that has a `fit` of its own (histogram, mixture, support) to training latents.

    Returns:
        The same prior, its `report` a `PriorFit`.
    """
    began = time.perf_counter()
    prior.fit(latents(model, data.train))
    return measured(prior, model, data, began)


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

    Says what every epoch reached to the logger of this module, at level INFO.

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
    codes = concatenate([prior.quantize(latent.code) for latent in train])
    best, kept, state = math.inf, 0, copy.deepcopy(prior.state_dict())
    labels = labels_of(data.train).to(device) if getattr(prior, "classes", None) else None
    steps = _Steps(prior, (codes, labels), epochs, batch_size, learning_rate, seed)
    for epoch in range(1, epochs + 1):
        steps.epoch()
        held_out = bits(prior, validation)
        _log.info("epoch %d/%d: %.4g bits per example on validation", epoch, epochs, held_out)
        if held_out < best:
            best, kept, state = held_out, epoch, copy.deepcopy(prior.state_dict())
    prior.load_state_dict(state)
    prior.eval()
    test = bits(prior, latents(model, data.test))
    return reported(prior, model, data, (best, test, kept, began))


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
        self.n = length(self.codes)
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
        for index in torch.randperm(self.n, generator=self.order).split(self.batch_size):
            loss = self._nats(index).mean()
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.prior.parameters(), 1.0)
            self.optimizer.step()
            self.schedule.step()
        self.prior.eval()

    def _nats(self, index: Tensor) -> Tensor:
        code = rows(self.codes, index)
        if self.labels is None:
            return self.prior.rate(_latent(code))
        assert isinstance(self.prior, PixelCNN)
        return -self.prior.log_prob(one_tensor(code), self.labels[index])


def _rate(total: int) -> Callable[[int], float]:
    warm = max(1, total // 20)
    return lambda step: min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / total))


def _latent(code: Code) -> Latent:
    part = tensors(code)[0]
    empty = torch.zeros(part.shape[0], 0, device=part.device)
    return Latent(z=empty, code=code, features=empty)
