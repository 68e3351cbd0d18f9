"""Trains a model for a rate that is asked for."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder, Loss
from narrows.codes import Indices
from narrows.data.dataset import Split
from narrows.functional.ranks import sum_over_ranks
from narrows.modes import evaluating
from narrows.recorded import spec
from narrows.training.callbacks.base import Callback
from narrows.training.evaluation import latents

_PUSH = 3.0  # on the log weight for each unit of e: damps what the sum of all e overshoots
_PATIENCE = 100  # steps at a bound, in the second half of training, before the rate is given up
_TRIALS, _NEAR, _FAR = 24, 0.005, 32.0  # of a step: log rate over what is asked, log factor
_START = 0.1  # weight of a choice that did not pay for its bits before


UNREACHED = "asked for"
"""How every RateUnreachableError begins, by which a process that reads the text knows it."""


class RateUnreachableError(RuntimeError):
    """A rate that the model does not reach; says which is the nearest."""


class Rate(Callback):
    """Steers the weight of the rate, so that codes end at the bits that are asked for.

    The weight is w exp(3 e), and after each optimiser step w <- w exp(speed * e). Here e =
    log(r / asked), within [-1, 1], and r is a moving average of the rate of the step's examples as
    they would be stored: rounded, under the model's own prior. After each epoch the ratio of the
    validation rate to r corrects what is aimed at, so that it is the validation rate that meets
    what is asked. w starts at the model's own weight; where choices are drawn, at the lowest, as
    a choice that beta has made for all examples alike passes no gradient any more.

    The weight is what the bottleneck declares: `Bottleneck.rate_weight` where the choice of a code
    can pay for its bits (lambda of an entropy constraint), which `fit` then makes it do; else the
    model's beta, where codes are random; else, for a code that is trained blind to bits, nothing:
    the step of its prior is chosen after training, by the validation rate. So is the last lambda,
    which acts in use, too. The bottleneck's default prior gives way to its `moving_prior`.

    Args:
        bits_per_dim: asked, in bits per value of the example.
        speed: of log w.
        decay: of the moving average.
        bounds: of w; where w stays at one, the rate is out of reach and training stops.

    Raises:
        ValueError: if a number is out of range.
        TypeError: when training begins, if nothing steers the bottleneck's rate.
        RateUnreachableError: when training begins, if the codes cannot hold as many bits; later, if
            w has been at a bound for 100 steps of the second half of training; after training,
            if no step of a blind code leads there.

    Example:
        >>> import narrows as nw
        >>> data = nw.data.load("digits")
        >>> model = nw.Autoencoder.for_images(data.shape, nw.Rounded(4))
        >>> run = nw.fit(model, data, epochs=1, rate=nw.Rate(bits_per_dim=1.0), show=False)
    """

    def __init__(
        self,
        bits_per_dim: float,
        *,
        speed: float = 0.15,
        decay: float = 0.9,
        bounds: tuple[float, float] = (1e-4, 1e4),
    ) -> None:
        if not 0 < bits_per_dim < math.inf:
            raise ValueError(f"Rate: bits_per_dim must be positive and finite, got {bits_per_dim}")
        if not 0 < speed < math.inf or not 0 <= decay < 1 or not 0 < bounds[0] < bounds[1]:
            raise ValueError(
                "Rate: expected speed > 0, decay in [0, 1) and 0 < lowest < highest weight, got "
                f"{speed}, {decay} and {bounds}"
            )
        self.bits_per_dim: float = bits_per_dim
        self.speed: float = speed
        self.decay: float = decay
        self.bounds: tuple[float, float] = (float(bounds[0]), float(bounds[1]))
        self._weight: float | None = None
        self._mean: float | None = None
        self._offset = 0.0  # log of the validation rate over the moving average
        self._push = 0.0
        self._stuck = 0
        self._late = self._blind = self._overruled = False
        self._last = 1.0  # beta as it was left

    def prepare(self, model: Autoencoder) -> None:
        """Makes the bits of a model's codes known and steerable while it trains; `fit` calls it.

        Raises:
            TypeError: if nothing steers the rate.
            RateUnreachableError: if the codes cannot hold as many bits.
        """
        most = _most(model)
        if self.bits_per_dim > most:
            raise RateUnreachableError(
                f"{UNREACHED} {self.bits_per_dim:g} bits per dimension, and the codes hold at most "
                f"{most:.4g} ({model.bottleneck.codes} on sites {model.sites}); take more sites, "
                "more numbers or codes a site, or ask for less"
            )
        if not _steerable(model):
            return
        fixed, moving = (
            make(model.sites)
            for make in (model.bottleneck.default_prior, model.bottleneck.moving_prior)
        )
        if spec(model.prior) == spec(fixed) != spec(moving):
            model.prior = moving.to(next(model.parameters()).device)
        if model.bottleneck.rate_weight == 0:
            model.bottleneck.set_rate_weight(_START)

    def begin(self, model: Autoencoder, folder: Path | None) -> None:
        """Starts anew."""
        del folder
        self._weight, self._mean = None, None
        self._offset, self._push, self._stuck = 0.0, 0.0, 0
        self._blind = not _steerable(model)
        self._last = float(model.beta)
        self._overruled = False

    def before_step(self, model: Autoencoder, progress: float) -> None:
        """Sets the weight."""
        self._late = progress >= 0.5
        if self._blind:
            return
        own = model.bottleneck.rate_weight
        self._overruled |= own is None and model.beta != self._last
        if self._weight is None:
            self._weight = self._first(model)
        self._set(model, self._weight)

    def after_step(self, model: Autoencoder, loss: Loss) -> None:
        """Moves the weight by the step's rate over all ranks."""
        if self._weight is None or model.bottleneck.warming_up:
            return
        rate = _rate_in_use(model, loss.latent.features)
        old = rate if self._mean is None else self._mean
        self._mean = self.decay * old + (1 - self.decay) * rate
        error = math.log(max(self._mean, 1e-9) / self.bits_per_dim) + self._offset
        clipped = min(max(error, -1), 1)
        self._weight = self._bounded(self._weight * math.exp(self.speed * clipped))
        self._push = _PUSH * clipped
        self._set(model, self._weight)
        self._stuck = self._stuck + 1 if self._late and self._weight in self.bounds else 0
        if self._stuck >= _PATIENCE and abs(error) > 0.02:
            raise RateUnreachableError(
                f"{UNREACHED} {self.bits_per_dim:g} bits per dimension; the nearest that this "
                f"model reached is {self._mean * math.exp(self._offset):.4g}, the weight of the "
                f"rate being at its bound {self._weight:g}; ask for that, or change what the code "
                "holds"
            )

    def after_epoch(self, model: Autoencoder, row: Mapping[str, float]) -> bool:
        """Learns by how much the validation rate differs from that of training."""
        del model
        found = row.get("validation_bits_per_dimension", 0.0)
        if self._mean is not None and min(self._mean, found) > 0:
            gap = math.log(found / self._mean)
            self._offset += 0.5 * (min(max(gap, -0.3), 0.3) - self._offset)
        return False

    @torch.no_grad()
    def settle(self, model: Autoencoder, *, train: Split, validation: Split) -> None:
        """After training, meets the validation rate by what acts in use: a step, or lambda nearby.

        Raises:
            RateUnreachableError: if no step of a blind code's prior comes within 2 %.
        """
        bottleneck, plain, own = model.bottleneck, model.prior, model.bottleneck.rate_weight
        if plain.frozen or bottleneck.warming_up or not (self._blind or own):
            return
        features = [[part.features for part in latents(model, s)] for s in (train, validation)]
        device = next(model.parameters()).device

        def log_ratio(log_factor: float) -> float:
            if self._blind:
                model.prior = plain.with_step(math.exp(log_factor)).to(device).eval()
            elif log_factor:
                bottleneck.set_rate_weight((own or 1.0) * math.exp(log_factor))
            known, held_out = (map(bottleneck, parts) for parts in features)
            model.prior.fit(known)
            rates = torch.cat([model.stored_rate(latent).double() for latent in held_out])
            return math.log(max(_bits(model, rates.mean()), 1e-9) / self.bits_per_dim)

        log_factor, error = _root(log_ratio, farthest=_FAR if self._blind else 1.0)
        if self._blind and abs(error) > 0.02:
            raise RateUnreachableError(
                f"{UNREACHED} {self.bits_per_dim:g} bits per dimension; the nearest that a step of "
                f"{type(plain).__name__} leads to is {self.bits_per_dim * math.exp(error):.4g}; "
                "ask for that, or change what the code holds"
            )
        log_ratio(log_factor)

    def figures(self) -> dict[str, float]:
        """What is asked, and the weight that is to bring it about."""
        asked = {"asked_bits_per_dimension": self.bits_per_dim}
        if self._weight is None:
            return asked
        return {**asked, "rate_weight": self._weight * math.exp(self._push)}

    def advice(self, validation: Mapping[str, float]) -> list[str]:
        """Says so where the run ended elsewhere than asked, or beta was set in vain."""
        found, sentences = validation["bits_per_dimension"], []
        if self._overruled:
            sentences.append(
                "Rate sets beta at each step, and so does another callback, to no effect: leave "
                "its warm-up or schedule out"
            )
        if abs(found / self.bits_per_dim - 1) > 0.02:
            sentences.append(
                f"asked for {self.bits_per_dim:g} bits per dimension, ended at {found:.4g} on "
                "validation data: train for more epochs"
            )
        return sentences

    def state(self) -> dict[str, Any]:
        """Its weight, moving average, correction, push, and steps at a bound."""
        return {
            "weight": self._weight, "mean": self._mean, "offset": self._offset,
            "push": self._push, "stuck": self._stuck,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes them back."""
        self._weight, self._mean = state["weight"], state["mean"]
        self._offset, self._push = state["offset"], state["push"]
        self._stuck = state["stuck"]
        if self._weight is not None:
            self._last = self._weight * math.exp(self._push)

    def _first(self, model: Autoencoder) -> float:
        """The model's own weight, or the lowest for choices that are drawn.

        Where beta weighs more than what is learned by then, they all become one choice, and stay
        so under any later beta: a softmax that is sure passes no gradient.
        """
        own = model.bottleneck.rate_weight
        if own is None and model.bottleneck.gradient == "estimated":
            return self.bounds[0]
        return self._bounded(self._last if own is None else own)

    def _bounded(self, weight: float) -> float:
        return min(max(weight, self.bounds[0]), self.bounds[1])

    def _set(self, model: Autoencoder, weight: float) -> None:
        weight *= math.exp(self._push)
        if model.bottleneck.rate_weight is None:
            model.beta = self._last = weight
        else:
            model.bottleneck.set_rate_weight(weight)


@torch.no_grad()
def _rate_in_use(model: Autoencoder, features: Tensor) -> float:
    """Bits per value of the codes of features, as they would be stored, over all ranks."""
    with evaluating(model.bottleneck):
        rate = model.stored_rate(model.bottleneck(features)).double()
    total, number = sum_over_ranks(torch.stack([rate.sum(), rate.new_tensor(len(rate))]))
    return _bits(model, total / number)


def _bits(model: Autoencoder, nats: Tensor) -> float:
    return float(nats) / math.log(2) / math.prod(model.target_shape)


@torch.no_grad()
def _steerable(model: Autoencoder) -> bool:
    """True if a weight moves the rate in training; False if only the step of the prior does.

    Raises:
        TypeError: if there is none either.
    """
    bottleneck = model.bottleneck
    if bottleneck.rate_weight is not None:
        return True
    at = next(model.parameters())
    with evaluating(bottleneck), torch.random.fork_rng(devices=[]):
        bottleneck.train()
        zeros = torch.zeros(1, *model.sites, bottleneck.in_features, device=at.device)
        if bottleneck(zeros).posterior is not None:
            return True
    try:
        model.prior.with_step(1.0)
    except TypeError as error:
        raise TypeError(
            f"Rate has nothing to steer: codes of {type(bottleneck).__name__} are not random, have "
            "no `rate_weight` and no step; take Rounded, or VectorQuantizer"
        ) from error
    return False


def _root(function: Callable[[float], float], *, farthest: float) -> tuple[float, float]:
    """Where a falling function comes nearest to 0, and its value there."""
    best, nearest = 0.0, function(0.0)
    ends, width = {nearest > 0: (best, nearest)}, min(max(abs(nearest), 0.02), 1.0)
    for _ in range(_TRIALS):
        if len(ends) == 2:
            (low, above), (high, below) = ends[True], ends[False]
            share = min(max(above / (above - below), 0.1), 0.9)
            place = low + share * (high - low)
        else:
            place = best + math.copysign(width, nearest)
            width *= 2
        if abs(nearest) < _NEAR or abs(place) > farthest:
            break
        value = function(place)
        ends[value > 0] = place, value
        if abs(value) < abs(nearest):
            best, nearest = place, value
    return best, nearest


def _most(model: Autoencoder) -> float:
    """The most bits per value that indices can hold; infinite for other codes."""
    codes = model.bottleneck.codes
    if not isinstance(codes, Indices):
        return math.inf
    bits = sum(math.log2(size) for size in codes.each)
    return math.prod(codes.grid(model.sites)) * bits / math.prod(model.target_shape)
