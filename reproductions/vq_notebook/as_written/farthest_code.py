"""The vector quantiser of a public notebook, which takes the farthest code."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from narrows.bottlenecks import CodebookLearning, VectorQuantizer
from narrows.functional.commitment import commit, squared_distance
from narrows.functional.usage import tally
from narrows.latent import Latent


class FarthestCode(VectorQuantizer):
    """z = c_k with k = argmax_k ||x - c_k||^2 at each site: argmax where argmin was meant.

    Everything else is `VectorQuantizer` with a codebook by gradient that starts in +-1/K.

    Args:
        size: number K of codes.
        dim: width of the features.
        commitment: weight of the commitment alone.
        seed: of the codebook's private generator, which nothing draws from here.

    Source:
        The notebook "VQ-VAE by Aaron van den Oord et al. in PyTorch" (2023), class
        VectorQuantizer.

    Example:
        >>> quantizer = FarthestCode(size=4, dim=1)
        >>> _ = quantizer.codebook.vectors.data.copy_(torch.tensor([[0.0], [1], [2], [3]]))
        >>> quantizer(torch.tensor([[0.2], [2.9]])).code
        tensor([3, 0])
    """

    method: ClassVar[Literal["ema", "gradient"]] = "gradient"

    def __init__(self, size: int, dim: int, commitment: float = 0.25, *, seed: int = 0) -> None:
        super().__init__(
            size,
            dim,
            learning=CodebookLearning(method=self.method, init="uniform", revive_after=None),
            commitment=commitment,
            seed=seed,
        )

    def forward(self, features: Tensor) -> Latent:
        """As the quantiser's, for the farthest code."""
        features = self._check(features)
        codes = self.codebook.codes
        with torch.no_grad():
            index = torch.cdist(features.flatten(0, -2), codes).argmax(-1).view(features.shape[:-1])
        value = torch.nn.functional.embedding(index, codes)
        z, distance = commit(features, value)
        terms = {"commitment": distance}
        if self.method == "gradient":
            terms["codebook"] = squared_distance(features.detach(), value)
        return Latent(
            z, index, features.detach(), terms=terms, stats={"counts": tally(index, self.size)}
        )


class FarthestCodeEma(FarthestCode):
    """The same with moving averages: g = 0.99, e = 1e-5.

    Codes and sums S start from N(0, 1), counts N at 0; each step, for counts n and sums s of the
    farthest codes of a batch,

        N <- g N + (1 - g) n,   N <- (N + e) / (sum N + K e) sum N,
        S <- g S + (1 - g) s,   c = S / N.

    The smoothed counts go back into the averages. A code without a vote keeps S / N: both
    shrink, so that its place moves only by the smoothing.

    Source:
        The same notebook, class VectorQuantizerEMA.
    """

    method: ClassVar[Literal["ema", "gradient"]] = "ema"
    epsilon: ClassVar[float] = 1e-5

    def __init__(self, size: int, dim: int, commitment: float = 0.25, *, seed: int = 0) -> None:
        super().__init__(size, dim, commitment, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        self.codebook.vectors.normal_(generator=generator)
        self.codebook.sums.normal_(generator=generator)
        self.codebook.counts.zero_()

    @torch.no_grad()
    def update(self, latents: Sequence[Latent]) -> None:
        """Moves the codes towards the features that are farthest from them."""
        book, decay = self.codebook, self.codebook.learning.decay
        features = torch.cat([latent.features.flatten(0, -2) for latent in latents])
        index = torch.cat([torch.as_tensor(latent.code).flatten() for latent in latents])
        book.counts.lerp_(tally(index, self.size).to(book.counts), 1 - decay)
        total = book.counts.sum()
        book.counts.add_(self.epsilon).mul_(total / (total + self.size * self.epsilon))
        totals = torch.zeros_like(book.vectors).index_add_(0, index, features)
        book.sums.lerp_(totals, 1 - decay)
        book.vectors.copy_(book.sums / book.counts.unsqueeze(1))
