"""The vector quantiser of a public notebook, which takes the farthest code."""

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

    Source:
        The notebook "VQ-VAE by Aaron van den Oord et al. in PyTorch" (2023), class
        VectorQuantizer.

    Example:
        >>> quantizer = FarthestCode(size=4, dim=1)
        >>> _ = quantizer.codebook.vectors.data.copy_(torch.tensor([[0.0], [1], [2], [3]]))
        >>> quantizer(torch.tensor([[0.2], [2.9]])).code
        tensor([3, 0])
    """

    def __init__(self, size: int, dim: int, commitment: float = 0.25) -> None:
        super().__init__(
            size,
            dim,
            learning=CodebookLearning(method="gradient", init="uniform", revive_after=None),
            commitment=commitment,
        )

    def forward(self, features: Tensor) -> Latent:
        """As the quantiser's, for the farthest code."""
        features = self._check(features)
        codes = self.codebook.codes
        with torch.no_grad():
            index = torch.cdist(features.flatten(0, -2), codes).argmax(-1).view(features.shape[:-1])
        value = torch.nn.functional.embedding(index, codes)
        z, distance = commit(features, value)
        terms = {"commitment": distance, "codebook": squared_distance(features.detach(), value)}
        return Latent(
            z, index, features.detach(), terms=terms, stats={"counts": tally(index, self.size)}
        )
