"""Your own prior: a Markov chain along the indices of a code.

Recipes take it by its class path, `examples.own_prior.Chain`.
"""

import math
from collections.abc import Iterable
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

import narrows as nw
from narrows.codes import Code, Indices
from narrows.functional.conditionals import Conditional, Conditionals


class Chain(nw.Prior):
    """p(code) = p(k_1) prod_i p(k_i | k_i-1), from counts of training codes."""

    space = Indices  # the codes that it is for
    counts: Tensor

    def __init__(self, sites: tuple[int, ...], size: int, *, channels: int | None = None) -> None:
        super().__init__(sites)
        self.indices = Indices(size, channels)  # their kind and bounds
        # Whole numbers: a reader of files finds the writer's probabilities exactly.
        self.register_buffer("counts", torch.ones(size + 1, size, dtype=torch.long))

    def pairs(self, code: Code) -> tuple[Tensor, Tensor]:
        """Of every index: the one before (`size` if none is) and itself; `[n, indices]`."""
        index = self.indices.check(code, self.sites).flatten(1)
        return F.pad(index[:, :-1], (1, 0), value=self.indices.size), index

    def fit(self, latents: Iterable[nw.Latent]) -> Self:
        self.counts.fill_(1)
        for latent in latents:
            self.counts.index_put_(self.pairs(latent.code), torch.tensor(1), accumulate=True)
        return self

    def rate(self, latent: nw.Latent) -> Tensor:
        p = self.counts / self.counts.sum(1, keepdim=True)
        return -p[self.pairs(latent.code)].log().sum(1)

    def conditionals(self, n: int, code: Code | None = None) -> Conditionals:
        shape, index = self.indices.shape(self.sites), [torch.full((n,), self.indices.size)]
        known = [None] * math.prod(shape) if code is None else self.pairs(code)[1].unbind(1)
        for symbols in known:
            index.append((yield Conditional(self.counts[index[-1]], n, symbols)))
        return torch.stack(index[1:], 1).view(n, *shape)


if __name__ == "__main__":
    nw.testing.check_prior(Chain((2, 3), size=16), nw.VectorQuantizer(16, 8))
    data = nw.data.load("digits")
    model = nw.Autoencoder.for_images(data.shape, nw.VectorQuantizer(16, 8))
    nw.fit(model, data, epochs=5, show=False)
    print(nw.fit_prior(model, data, prior=Chain(model.sites, size=16)).report)
