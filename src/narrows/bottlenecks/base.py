"""The one interface behind which every latent lives."""

import dataclasses
import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from narrows.codes import Code, CodeSpace
from narrows.following import HALF, Following
from narrows.functional.score_function import score_function_surrogate
from narrows.latent import Latent
from narrows.recorded import Recorded

if TYPE_CHECKING:
    from narrows.priors.base import Prior


class RateArgument(NamedTuple):
    """The argument of a model that moves its rate.

    Attributes:
        name: its place among the model's arguments: `beta`, `bottleneck.size`.
        values: worth comparing, as words of the command line.
    """

    name: str
    values: tuple[str, ...]


Gradient: TypeAlias = Literal["exact", "straight_through", "estimated"]
COUNTS = ("1", "2", "4", "8")
SIZES = ("16", "64", "256", "1024")
BETA = RateArgument("beta", ("0.1", "0.3", "1", "3"))


class Bottleneck(Recorded, Following, ABC):
    """Features `[batch, *sites, in_features]` -> `Latent`, and `embed(code)` back to z.

    The last axis is what is coded; any number of site axes, also none, may stand before it.
    `forward` changes no state in any mode: what runs along with training (moving averages,
    revival of dead codes, sparsity control) happens in `update`, which the training engine
    calls once per optimiser step with the latents of all its micro-batches.
    `narrows.testing.check_bottleneck` proves the contract for any subclass.

    Attributes:
        in_features: width that the encoder must deliver in the last axis.
        out_features: width of z, which the decoder receives.
        inputs: leading features that alone are coded, where the others are what z should be;
            0 where all are coded.
        rate_argument: what moves the rate, for sweeps; None where nothing does.
        gradient: how d z / d features comes about. "exact": differentiation of what was
            computed; "straight_through": the identity; "estimated": anything else.
        per_site: whether each site is coded from its own features alone.
        draws: codes drawn per example in a training step. With several, the model passes the
            features of the batch that many times, one whole batch after the other.
        whole_batch: True if training uses batch statistics (a mean, a scale, a choice), so that
            the batch cannot be coded in parts.
    """

    inputs: int = 0
    rate_argument: RateArgument | None = None
    gradient: Gradient = "exact"
    per_site: bool = True
    draws: int = 1
    whole_batch: bool = False
    follows: bool = False

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        for name, value in (("in_features", in_features), ("out_features", out_features)):
            if value < 1:
                raise ValueError(f"{type(self).__name__}: {name} must be at least 1, got {value}")
        self.in_features: int = in_features
        self.out_features: int = out_features

    @classmethod
    def fitted(cls, arguments: Mapping[str, int], /, *, dim: int, inputs: int) -> dict[str, int]:
        """Constructor arguments, by name, that fit features of another width; {} where none do.

        Args:
            arguments: those that were meant for another width.
            dim: width of the features.
            inputs: as of the attribute.
        """
        del arguments, inputs
        return {"dim": dim} if "dim" in inspect.signature(cls).parameters else {}

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        for name, wrapped in (("forward", _forward_in_dtype), ("embed", _embed_in_dtype)):
            if name in cls.__dict__:
                type.__setattr__(cls, name, wrapped(cls.__dict__[name]))

    @property
    def rate_weight(self) -> float | None:
        """The weight of the rate in the choice of a code; 0 where the choice does not pay for it.

        None where no weight can be set.
        """
        return None

    def set_rate_weight(self, _weight: float, /) -> None:
        """Sets `rate_weight`, above 0, where it is not None; `narrows.training.Rate` does it.

        Raises:
            TypeError: if it is None.
        """
        raise TypeError(f"{type(self).__name__}: the choice of a code cannot pay for its rate")

    @property
    def warming_up(self) -> bool:
        """True while training passes features through, before there are codes."""
        return False

    @property
    @abstractmethod
    def codes(self) -> CodeSpace:
        """The codes that this bottleneck makes in eval, which are those that `embed` takes."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Weight in the loss of each of the latent's terms, by name."""
        return {}

    @abstractmethod
    def forward(self, features: Tensor) -> Latent:
        """Codes features `[batch, *sites, in_features]`; random only in training.

        Raises:
            ValueError: if the last axis has another width, or a feature is not finite.
        """

    def masked(self, features: Tensor, keep: Tensor) -> Latent:
        """Codes what is kept: single sites as so many examples of one site, or whole examples.

        Args:
            features: `[batch, *sites, in_features]`.
            keep: True at what is coded, `[batch, *sites]` or `[batch]`; what is drawn once an
                example is so here, too.
        """
        return self(features[keep])

    @abstractmethod
    def embed(self, code: Code) -> Tensor:
        """Turns a stored code into the decoder's input `[batch, *sites, out_features]`."""

    @abstractmethod
    def default_prior(self, sites: tuple[int, ...]) -> "Prior":
        """The fixed prior that comes with this bottleneck for codes on the given sites."""

    def moving_prior(self, sites: tuple[int, ...]) -> "Prior":
        """The prior whose rate is known while training, which `narrows.training.Rate` steers."""
        return self.default_prior(sites)

    def surrogate(self, cost: Tensor, latent: Latent) -> Tensor:
        """Zeros whose gradient is the score-function part, where the latent has `log_q`.

        Args:
            cost: what each draw cost, `[draws * batch]` in nats.
            latent: the draws.
        """
        assert latent.log_q is not None
        return score_function_surrogate(cost, latent.log_q)

    def update(self, _latents: Sequence[Latent], /) -> None:
        """Running updates after one optimiser step; reduced over ranks where there are any.

        Args:
            _latents: the latents of all micro-batches of the step, of this rank.
        """

    def settle(self, _latents: Iterable[Latent], /) -> None:
        """At the end of training, sets what running averages only followed; `fit` calls it.

        Args:
            _latents: those of all training examples, in batches.
        """

    def summary(self, _totals: Mapping[str, Tensor], _examples: int, /) -> dict[str, float]:
        """Measures of the code over a whole set, from the summed `Latent.stats`.

        Args:
            _totals: each of the stats, summed over the set.
            _examples: number of examples in the set.
        """
        return {}

    def advice(self, _summary: Mapping[str, float], /) -> list[str]:
        """Sentences that say what looks wrong in the summary and what to try."""
        return []

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: object
    ) -> None:
        # A choice that came to pay for its bits in training is one that does when it is loaded.
        free = getattr(self, "constraint", False) is None
        if free and f"{prefix}constraint.strength" in state_dict:
            self.set_rate_weight(1.0)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _check(self, features: Tensor) -> Tensor:
        """Refuses features that cannot be coded; returns them in float32 or better."""
        if features.dim() < 2 or features.shape[-1] != self.in_features:
            raise ValueError(
                f"{type(self).__name__}: expected features of width {self.in_features} in the "
                f"last axis, got shape {tuple(features.shape)}; move channels last first, or "
                f"build the encoder with {self.in_features} output features"
            )
        if not features.is_floating_point():
            raise ValueError(
                f"{type(self).__name__}: expected floating-point features, got {features.dtype}"
            )
        self.count_pass()
        if features.dtype in HALF:
            features = features.float()
        # A sum is finite unless a summand is not (or it overflows, which the second look
        # settles): one pass, one number to wait for. Graph capture cannot branch on data.
        if not torch.compiler.is_compiling() and not bool(features.detach().sum().isfinite()):
            bad = ~features.detach().isfinite()
            if bool(bad.any()):
                raise ValueError(
                    f"{type(self).__name__}: {int(bad.sum())} of {features.numel()} features "
                    "are NaN or infinite; lower the learning rate or look for the step that "
                    "made them"
                )
        return features


def _forward_in_dtype(forward: Callable[..., Latent]) -> object:
    """`forward` with z in the half precision that the module was converted to."""

    @functools.wraps(forward)
    def wrapped(self: Bottleneck, features: Tensor, **draws: Tensor) -> Latent:
        latent = forward(self, features, **draws)
        if self.dtype in HALF and latent.z.dtype != self.dtype:
            latent = dataclasses.replace(latent, z=latent.z.to(self.dtype))
        return latent

    return wrapped


def _embed_in_dtype(embed: Callable[[Bottleneck, Code], Tensor]) -> object:
    """`embed` in the precision that the module was converted to; better where the code is."""

    @functools.wraps(embed)
    def wrapped(self: Bottleneck, code: Code) -> Tensor:
        z = embed(self, code)
        better = z.dtype == torch.float64 and self.dtype == torch.float32
        return z if better else z.to(self.dtype)

    return wrapped
