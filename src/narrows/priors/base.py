"""p(code): what a code costs and how to draw one."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Self

import torch
from torch import Tensor, nn

from narrows.latent import Code, Latent
from narrows.recorded import Recorded


class NoRateError(ValueError):
    """The rate of a continuous code was asked for before it had a step to be rounded to."""


class Prior(Recorded, nn.Module, ABC):
    """A distribution over the codes of one bottleneck on given sites.

    Attributes:
        sites: shape of the grid of sites; `()` where the whole example is one site.
    """

    def __init__(self, sites: tuple[int, ...]) -> None:
        super().__init__()
        self.sites = tuple(int(size) for size in sites)

    @abstractmethod
    def rate(self, latent: Latent) -> Tensor:
        """Nats per example, `[batch]`.

        KL(q || p) where the latent has a posterior; -log p(code) where its code is discrete, or
        continuous and quantised by this prior.

        Raises:
            NoRateError: where no finite rate is defined yet; it never returns 0 instead.
        """

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator | None = None) -> Code:
        """Draws n codes, `[n, *sites, ...]`, for `bottleneck.embed`.

        Raises:
            ValueError: if the prior has to be fitted first.
        """

    def quantize(self, code: Code) -> Code:
        """The code as it would be stored: rounded to the prior's step where it has one."""
        return code

    def fit(self, latents: Iterable[Latent]) -> Self:
        """Fits what can be fitted to training latents in one pass and returns itself."""
        del latents
        return self
