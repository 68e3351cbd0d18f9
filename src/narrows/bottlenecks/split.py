"""Several bottlenecks side by side, each with a part of the last axis."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from narrows.bottlenecks.base import Bottleneck, Gradient
from narrows.codes import Code, Several, parts_of
from narrows.latent import JointLatent, Latent
from narrows.priors.base import Prior
from narrows.priors.joint import JointPrior

Value = TypeVar("Value")


class Split(Bottleneck):
    """Features, code and z are those of the parts, in their order.

    `Split([Categorical(10), Variational(8)])` is a latent of one discrete coordinate and the
    rest continuous. Terms, stats and measures of part i are named `i.name`.

    Args:
        parts: two or more bottlenecks.

    Raises:
        ValueError: if there are fewer than two, or two want different numbers of draws.

    Example:
        >>> import torch
        >>> from narrows.bottlenecks import Categorical, Variational
        >>> latent = Split([Categorical(10), Variational(2)]).eval()(torch.randn(5, 14))
        >>> [tuple(part.shape) for part in latent.code], latent.z.shape
        ([(5, 1), (5, 2)], torch.Size([5, 12]))
    """

    follows: bool = False

    def __init__(self, parts: Sequence[Bottleneck]) -> None:
        if len(parts) < 2:
            raise ValueError(f"Split: expected two or more bottlenecks, got {len(parts)}")
        super().__init__(
            sum(part.in_features for part in parts), sum(part.out_features for part in parts)
        )
        self.parts: nn.ModuleList = nn.ModuleList(parts)
        several = {part.draws for part in parts} - {1}
        if len(several) > 1:
            raise ValueError(
                f"Split: parts want different numbers of draws per example, {sorted(several)}; "
                "give their estimators the same number"
            )
        self.draws: int = several.pop() if several else 1
        self.per_site: bool = all(part.per_site for part in parts)
        self.whole_batch: bool = any(part.whole_batch for part in parts)
        alike = len({part.gradient for part in parts}) == 1
        self.gradient: Gradient = parts[0].gradient if alike else "estimated"

    @property
    def weights(self) -> Mapping[str, float]:
        """The parts' weights, by `i.name`."""
        return _named([part.weights for part in self._bottlenecks])

    @property
    def codes(self) -> Several:
        """The parts' codes, in a tuple."""
        return Several(tuple(part.codes for part in self._bottlenecks))

    def forward(self, features: Tensor) -> Latent:
        """Codes features `[batch, *sites, in_features]`, each part its own slice."""
        features = self._check(features)
        pairs = zip(self._bottlenecks, self._slices(features), strict=True)
        return self._joined(features, [part(piece) for part, piece in pairs])

    def masked(self, features: Tensor, keep: Tensor) -> Latent:
        """Each part's own."""
        pairs = zip(self._bottlenecks, self._slices(features), strict=True)
        latents = [part.masked(piece, keep) for part, piece in pairs]
        return self._joined(features[keep], latents)

    def _slices(self, features: Tensor) -> Sequence[Tensor]:
        return features.split([part.in_features for part in self._bottlenecks], -1)

    def _joined(self, features: Tensor, latents: list[Latent]) -> Latent:
        scores = [latent.log_q for latent in latents if latent.log_q is not None]
        random = [latent.posterior is not None for latent in latents]
        return JointLatent(
            z=torch.cat([latent.z for latent in latents], -1),
            code=tuple(latent.code for latent in latents),
            features=features.detach(),
            posterior=JointPosterior(latents) if any(random) else None,
            terms=_named([latent.terms for latent in latents]),
            stats=_named([latent.stats for latent in latents]),
            log_q=torch.stack(scores).sum(0) if scores else None,
            parts=tuple(latents),
        )

    def embed(self, code: Code) -> Tensor:
        """The parts' z side by side."""
        pairs = zip(self._bottlenecks, parts_of(code, len(self.parts)), strict=True)
        return torch.cat([part.embed(piece) for part, piece in pairs], -1)

    def default_prior(self, sites: tuple[int, ...]) -> Prior:
        """The product of the parts' default priors."""
        priors = [part.default_prior(sites) for part in self._bottlenecks]
        return JointPrior(sites, priors)

    def moving_prior(self, sites: tuple[int, ...]) -> Prior:
        """The product of the parts' moving priors."""
        return JointPrior(sites, [part.moving_prior(sites) for part in self._bottlenecks])

    def surrogate(self, cost: Tensor, latent: Latent) -> Tensor:
        """The sum of the parts' surrogates: log q is the sum of theirs."""
        assert isinstance(latent, JointLatent)
        pairs = zip(self._bottlenecks, latent.parts, strict=True)
        sums = [part.surrogate(cost, own) for part, own in pairs if own.log_q is not None]
        return torch.stack(sums).sum(0)

    def update(self, latents: Sequence[Latent]) -> None:
        """Each part's own."""
        for i, part in enumerate(self._bottlenecks):
            part.update([latent.parts[i] for latent in latents if isinstance(latent, JointLatent)])

    def settle(self, latents: Iterable[Latent]) -> None:
        """Each part's own."""
        copies = itertools.tee(latents, len(self.parts))
        for i, (part, own) in enumerate(zip(self._bottlenecks, copies, strict=True)):
            part.settle(latent.parts[i] for latent in own if isinstance(latent, JointLatent))

    def summary(self, totals: Mapping[str, Tensor], examples: int) -> dict[str, float]:
        """The parts' measures, by `i.name`."""
        own = [_of(totals, i) for i in range(len(self.parts))]
        pairs = zip(self._bottlenecks, own, strict=True)
        return _named([part.summary(sums, examples) if sums else {} for part, sums in pairs])

    def advice(self, summary: Mapping[str, float]) -> list[str]:
        """The parts' advice, each with its part's number."""
        return [
            f"part {i}: {sentence}"
            for i, part in enumerate(self._bottlenecks)
            for sentence in (part.advice(_of(summary, i)) if _of(summary, i) else [])
        ]

    @property
    def _bottlenecks(self) -> list[Bottleneck]:
        return [part for part in self.parts if isinstance(part, Bottleneck)]


class JointPosterior(Distribution):
    """Independent posteriors of the parts; a deterministic part is certain of its code."""

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012  # pyright: ignore

    def __init__(self, latents: Sequence[Latent]) -> None:
        super().__init__(torch.Size((latents[0].batch,)), validate_args=False)
        self.latents = latents

    def sample(self, sample_shape: Sequence[int] = ()) -> tuple[Code, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Draws one code: the parts' codes in a tuple."""
        if tuple(sample_shape):
            raise NotImplementedError("draw one code at a time, or repeat the features")
        return tuple(
            latent.code if latent.posterior is None else latent.posterior.sample()
            for latent in self.latents
        )

    def log_prob(self, value: tuple[Code, ...]) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Log q(code | x), `[batch]`; a deterministic discrete part adds 0.

        Raises:
            ValueError: if a part is deterministic and continuous.
        """
        total = self.latents[0].z.new_zeros(self.latents[0].batch)
        for latent, part in zip(self.latents, value, strict=True):
            if not latent.has_rate:
                raise ValueError("log q of a deterministic continuous part is infinite")
            if latent.posterior is not None:
                terms = cast("Callable[[Code], Tensor]", latent.posterior.log_prob)(part)
                total = total + (terms if terms.dim() == 1 else terms.flatten(1).sum(1))
        return total


def _named(parts: Sequence[Mapping[str, Value]]) -> dict[str, Value]:
    return {f"{i}.{name}": value for i, part in enumerate(parts) for name, value in part.items()}


def _of(values: Mapping[str, Value], part: int) -> dict[str, Value]:
    prefix = f"{part}."
    return {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}
