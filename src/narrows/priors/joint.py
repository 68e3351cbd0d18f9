"""Independent priors over the parts of a split code."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from narrows.codes import Code, CodeSpace, Several, parts_of
from narrows.functional.conditionals import Conditionals
from narrows.latent import JointLatent, Latent
from narrows.priors.base import Prior


class JointPrior(Prior):
    """p(code) = product of the parts' priors; the code is a tuple of the parts' codes.

    Args:
        sites: shape of the grid of sites, the same for all parts.
        priors: one for each part.

    Raises:
        ValueError: if a prior is for other sites.
    """

    space: ClassVar[type[CodeSpace]] = Several

    follows: bool = False  # the parts do

    def __init__(self, sites: tuple[int, ...], priors: Sequence[Prior]) -> None:
        super().__init__(sites)
        self.parts: nn.ModuleList = nn.ModuleList(priors)
        if any(prior.sites != self.sites for prior in priors):
            raise ValueError(
                f"JointPrior: expected priors on sites {self.sites}, got "
                f"{[prior.sites for prior in priors]}"
            )

    @property
    def codes(self) -> Several | None:
        """The parts' codes."""
        parts = [prior.codes for prior in self._priors]
        return None if None in parts else Several(tuple(part for part in parts if part))

    def rate(self, latent: Latent) -> Tensor:
        """Sum of the parts' rates, `[batch]` in nats.

        Raises:
            ValueError: if a part has none.
            TypeError: if the latent is not a `Split` bottleneck's.
        """
        # The codes may have been quantised since the parts' latents were made.
        parts = zip(self._split(latent), self._pairs(latent.code), strict=True)
        rates = [prior.rate(replace(part, code=code)) for part, (prior, code) in parts]
        return torch.stack(rates).sum(0)

    def log_prob(self, code: Code) -> Tensor:
        """Log p(code), `[batch]` in nats: the parts' sum."""
        return torch.stack([prior.log_prob(part) for prior, part in self._pairs(code)]).sum(0)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Code:
        """Draws n codes, the parts independently."""
        return tuple(prior.sample(n, generator) for prior in self._priors)

    def conditionals(self, n: int, code: Code | None = None) -> Conditionals:
        """Part after part."""
        pairs = [(prior, None) for prior in self._priors] if code is None else self._pairs(code)
        return _in_turn([prior.conditionals(n, part) for prior, part in pairs])

    def quantize(self, code: Code) -> Code:
        """Each part as its own prior stores it."""
        return tuple(prior.quantize(part) for prior, part in self._pairs(code))

    def stored(self, latent: Latent) -> Latent:
        """Each part as its own prior stores it."""
        from narrows.bottlenecks.split import JointPosterior  # imports this module

        pairs = zip(self._priors, self._split(latent), strict=True)
        parts = tuple(prior.stored(part) for prior, part in pairs)
        random = any(part.posterior is not None for part in parts)
        return replace(
            latent, code=tuple(part.code for part in parts), parts=parts,
            posterior=JointPosterior(parts) if random else None,
        )  # fmt: skip

    def fit(self, latents: Iterable[Latent]) -> Self:
        """Fits each part's prior; the latents are kept while they pass."""
        kept = [self._split(latent) for latent in latents]
        for i, prior in enumerate(self._priors):
            prior.fit(parts[i] for parts in kept)
        return self

    def update(self, latents: Sequence[Latent], /) -> None:
        """Each part's own."""
        for i, prior in enumerate(self._priors):
            prior.update([self._split(latent)[i] for latent in latents])

    @property
    def _priors(self) -> list[Prior]:
        return [prior for prior in self.parts if isinstance(prior, Prior)]

    def _pairs(self, code: Code) -> list[tuple[Prior, Code]]:
        return [*zip(self._priors, parts_of(code, len(self.parts)), strict=True)]

    def _split(self, latent: Latent) -> tuple[Latent, ...]:
        if not isinstance(latent, JointLatent) or len(latent.parts) != len(self.parts):
            raise TypeError(
                f"JointPrior: expected the latent of a Split bottleneck of {len(self.parts)} "
                f"parts, got {type(latent).__name__}"
            )
        return latent.parts


def _in_turn(walks: Sequence[Conditionals]) -> Conditionals:
    codes: tuple[Code, ...] = ()
    for walk in walks:
        codes = (*codes, (yield from walk))
    return codes
