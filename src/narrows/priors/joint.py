"""Independent priors over the parts of a split code."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from narrows.latent import Code, Latent
from narrows.priors.base import Prior


@dataclass(frozen=True, eq=False)
class JointLatent(Latent):
    """The latent of several bottlenecks side by side.

    Attributes:
        parts: the latent of each.
    """

    parts: tuple[Latent, ...] = ()

    @property
    def has_rate(self) -> bool:
        """Whether every part has one."""
        return all(part.has_rate for part in self.parts)


class JointPrior(Prior):
    """p(code) = product of the parts' priors; the code is the parts' tensors in a row.

    Args:
        sites: shape of the grid of sites, the same for all parts.
        priors: one for each part.
        counts: tensors of each part's code; one each by default.

    Raises:
        ValueError: if a prior is for other sites, or there is not a count for each.
    """

    def __init__(
        self, sites: tuple[int, ...], priors: Sequence[Prior], counts: Sequence[int] | None = None
    ) -> None:
        super().__init__(sites)
        self.parts = nn.ModuleList(priors)
        self.counts = tuple(counts) if counts is not None else (1,) * len(priors)
        if any(prior.sites != self.sites for prior in priors):
            raise ValueError(
                f"JointPrior: expected priors on sites {self.sites}, got "
                f"{[prior.sites for prior in priors]}"
            )
        if len(self.counts) != len(priors):
            raise ValueError(f"JointPrior: expected {len(priors)} counts, got {self.counts}")

    def rate(self, latent: Latent) -> Tensor:
        """Sum of the parts' rates, `[batch]` in nats.

        Raises:
            ValueError: if a part has none.
            TypeError: if the latent is not a `Split` bottleneck's.
        """
        codes = ungroup(latent.code, self.counts)  # which may have been quantised since
        parts = zip(self._split(latent), codes, strict=True)
        own = [dataclasses.replace(part, code=code) for part, code in parts]
        rates = [p.rate(part) for p, part in zip(self._priors, own, strict=True)]
        return torch.stack(rates).sum(0)

    def log_prob(self, code: Code) -> Tensor:
        """Log p(code), `[batch]` in nats.

        Raises:
            ValueError: if a part's prior gives none.
        """
        total = None
        for prior, part in zip(self._priors, ungroup(code, self.counts), strict=True):
            log_prob = getattr(prior, "log_prob", None)
            if log_prob is None:
                raise ValueError(f"{type(prior).__name__} gives no log p(code) for a part")
            total = log_prob(part) if total is None else total + log_prob(part)
        assert total is not None
        return total

    def sample(self, n: int, generator: torch.Generator | None = None) -> Code:
        """Draws n codes, the parts independently."""
        return group([prior.sample(n, generator) for prior in self._priors])

    def quantize(self, code: Code) -> Code:
        """Each part as its own prior stores it."""
        parts = ungroup(code, self.counts)
        return group([p.quantize(part) for p, part in zip(self._priors, parts, strict=True)])

    def fit(self, latents: Iterable[Latent]) -> Self:
        """Fits each part's prior; the latents are kept while they pass."""
        kept = [self._split(latent) for latent in latents]
        for i, prior in enumerate(self._priors):
            prior.fit(parts[i] for parts in kept)
        return self

    @property
    def _priors(self) -> list[Prior]:
        return [prior for prior in self.parts if isinstance(prior, Prior)]

    def _split(self, latent: Latent) -> tuple[Latent, ...]:
        if not isinstance(latent, JointLatent) or len(latent.parts) != len(self.parts):
            raise TypeError(
                f"JointPrior: expected the latent of a Split bottleneck of {len(self.parts)} "
                f"parts, got {type(latent).__name__}"
            )
        return latent.parts


def group(codes: Sequence[Code]) -> Code:
    """One tuple of all tensors of the codes."""
    return tuple(
        tensor for code in codes for tensor in (code if isinstance(code, tuple) else (code,))
    )


def ungroup(code: Code, counts: Sequence[int]) -> list[Code]:
    """The parts' codes, given how many tensors each has.

    Raises:
        ValueError: if their number does not add up.
    """
    tensors = code if isinstance(code, tuple) else (code,)
    if len(tensors) != sum(counts):
        raise ValueError(f"expected a code of {sum(counts)} tensors, got {len(tensors)}")
    parts: list[Code] = []
    start = 0
    for count in counts:
        part = tensors[start : start + count]
        parts.append(part[0] if count == 1 else part)
        start += count
    return parts
