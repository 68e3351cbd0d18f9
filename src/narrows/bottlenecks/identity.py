"""The plain autoencoder's bottleneck: none but its width."""

from torch import Tensor

from narrows.latent import Code, Latent
from narrows.priors.base import Prior
from narrows.priors.quantized import QuantizedHistogram

from .base import Bottleneck


class Identity(Bottleneck):
    """z = code = features: a deterministic continuous code.

    Such a code carries infinitely many bits. It gets a finite rate by quantisation: the default
    prior, `narrows.priors.QuantizedHistogram`, is fitted to training latents, and `rate` raises
    until then.

    Args:
        dim: width of the features, of the code and of z.

    Example:
        >>> import torch
        >>> latent = Identity(2)(torch.tensor([[0.5, -1.0]]))
        >>> latent.z
        tensor([[ 0.5000, -1.0000]])
        >>> latent.has_rate
        False
    """

    def __init__(self, dim: int) -> None:
        super().__init__(dim, dim)

    def forward(self, features: Tensor) -> Latent:
        """Passes the features through."""
        features = self._check(features)
        return Latent(z=features, code=features, features=features.detach())

    def embed(self, code: Code) -> Tensor:
        """The code itself."""
        if isinstance(code, tuple):
            raise TypeError(f"Identity: expected the code as one tensor, got {type(code).__name__}")
        return code

    def default_prior(self, sites: tuple[int, ...]) -> Prior:
        """A histogram of each feature, rounded to a quarter of its standard deviation."""
        return QuantizedHistogram(sites, self.in_features)
