"""Independent indices: learned frequencies, or all alike."""

import math
from collections.abc import Iterable
from typing import Self

import torch
from torch import Tensor
from torch.distributions import Categorical

from narrows.codes import Code, Indices, length
from narrows.latent import Latent
from narrows.priors.base import Prior


class CategoricalPrior(Prior):
    """Independent indices: uniform until `fit`, then as often as in the training codes.

    p(k) = (n_k + 1/2) / (n + K/2), so that an index not seen in training has a finite cost.
    Integer codes are `[batch, *sites]`, or `[batch, *sites, groups]` where each group (the
    stages of a residual quantiser, say) has a histogram of its own. With groups, an index of -1
    is one that was not sent: it costs nothing and is not counted.

    Args:
        size: number K of different indices.
        sites: shape of the grid of sites.
        groups: number of histograms, over a last axis of the code; None where there is none.

    Raises:
        ValueError: if size or groups is less than 1.

    Source: Krichevsky and Trofimov 1981 (the 1/2 of the estimate).

    Example:
        >>> prior = CategoricalPrior(size=512, sites=(8, 8))
        >>> prior.sample(3).shape
        torch.Size([3, 8, 8])
    """

    counts: Tensor

    def __init__(self, size: int, sites: tuple[int, ...], groups: int | None = None) -> None:
        super().__init__(tuple(sites))
        if size < 1 or (groups is not None and groups < 1):
            raise ValueError(
                f"CategoricalPrior: size and groups must be at least 1, got {size} and {groups}"
            )
        self.size = size
        self.groups = groups
        self.register_buffer("counts", torch.zeros(groups or 1, size, dtype=torch.float64))

    @property
    def code_sites(self) -> tuple[int, ...]:
        """Shape of one example's code."""
        return self.sites if self.groups is None else (*self.sites, self.groups)

    @property
    def log_probs(self) -> Tensor:
        """log p of every index in nats, `[groups or 1, size]`, float64."""
        smoothed = self.counts + 0.5
        return smoothed.log() - smoothed.sum(1, keepdim=True).log()

    def rate(self, latent: Latent) -> Tensor:
        """-sum over sites of log p(index), nats per example, `[batch]`.

        Raises:
            ValueError: if the code is not integers of this prior's shape and range.
        """
        code = self._checked(latent.code)
        groups = torch.arange(self.counts.shape[0], device=code.device)
        cost = -self.log_probs[groups.expand_as(code), code.clamp_min(0)]
        return cost.masked_fill(code < 0, 0).flatten(1).sum(1).to(latent.z.dtype)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Code:
        """Draws indices `[n, *sites]` (`[n, *sites, groups]` with groups)."""
        groups = self.counts.shape[0]
        total = self.log_probs.exp().cumsum(1)
        draws = torch.rand(
            groups, n * math.prod(self.sites), generator=generator, dtype=torch.float64,
            device=generator.device if generator is not None else total.device,
        )  # fmt: skip
        index = torch.searchsorted(total, draws.to(total.device) * total[:, -1:], right=True)
        index = index.clamp_(max=self.size - 1).T.reshape(n, *self.sites, groups)
        return index if self.groups is not None else index.squeeze(-1)

    def fit(self, latents: Iterable[Latent]) -> Self:
        """Counts the indices of the given latents, in place of what was counted before."""
        counts = torch.zeros_like(self.counts)
        for latent in latents:
            code = self._checked(latent.code).to(counts.device)
            for group in range(counts.shape[0]):
                index = code[..., group].flatten()
                counts[group] += torch.bincount(index[index >= 0], minlength=self.size)
        self.counts.copy_(counts)
        return self

    def _checked(self, code: Code) -> Tensor:
        """The code as `[batch, *sites, groups or 1]`."""
        space = Indices(self.size, self.groups, partial=self.groups is not None)
        index = space.check(code, self.sites)
        return index if self.groups is not None else index.unsqueeze(-1)


class UniformCategorical(Prior):
    """p(code) = categories^-(variables * sites).

    rate = KL(q || p) = sum over sites and variables of log K - H(q), in nats, where the code is
    random; without a posterior, log K for every variable.

    Args:
        sites: shape of the grid of sites.
        variables: categorical variables per site.
        categories: K, the number of values of each.

    Example:
        >>> UniformCategorical((2,), variables=3, categories=10).sample(4).shape
        torch.Size([4, 2, 3])
    """

    anchor: Tensor

    def __init__(self, sites: tuple[int, ...], variables: int, categories: int) -> None:
        super().__init__(sites)
        if variables < 1 or categories < 2:
            raise ValueError(
                "UniformCategorical: expected at least 1 variable and 2 categories, got "
                f"{variables} and {categories}"
            )
        self.variables = variables
        self.categories = categories
        self.register_buffer("anchor", torch.zeros(()), persistent=False)  # knows the device

    @property
    def largest_rate(self) -> float:
        """Nats per example of a code known for certain."""
        return math.prod(self.sites) * self.variables * math.log(self.categories)

    def rate(self, latent: Latent) -> Tensor:
        """KL(q || p), `[batch]` in nats.

        Raises:
            ValueError: if the latent's posterior is not categorical, or its code not discrete.
        """
        posterior = latent.posterior
        if isinstance(posterior, Categorical):
            entropy = -(posterior.probs * posterior.logits).sum(-1)
            return self.largest_rate - entropy.flatten(1).sum(1)
        if posterior is None and latent.has_rate:
            return self.log_prob(latent.code).neg()
        raise ValueError(
            "UniformCategorical: expected a categorical posterior or an integer code, got "
            f"{type(posterior or latent.code).__name__}; use the bottleneck's default_prior"
        )

    def log_prob(self, code: Code) -> Tensor:
        """Log p(code) for codes `[batch, *sites, variables]`, `[batch]` in nats."""
        return self.anchor.expand(length(code)) - self.largest_rate

    def sample(self, n: int, generator: torch.Generator | None = None) -> Code:
        """Draws n codes, `[n, *sites, variables]`."""
        shape = (n, *self.sites, self.variables)
        device = self.anchor.device if generator is None else generator.device
        draws = torch.randint(self.categories, shape, generator=generator, device=device)
        return draws.to(self.anchor.device)
