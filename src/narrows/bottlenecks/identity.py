"""The plain autoencoder's bottleneck: none but its width."""

from torch import Tensor

from narrows.bottlenecks.base import COUNTS, Bottleneck, RateArgument
from narrows.codes import Code, Values
from narrows.latent import Latent
from narrows.priors.base import Prior
from narrows.priors.quantized import QuantizedHistogram


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

    rate_argument: RateArgument | None = RateArgument("bottleneck.dim", COUNTS)

    def __init__(self, dim: int) -> None:
        super().__init__(dim, dim)

    @property
    def codes(self) -> Values:
        """Values, `dim` at each site."""
        return Values(self.out_features)

    def forward(self, features: Tensor) -> Latent:
        """Passes the features through."""
        features = self._check(features)
        return Latent(z=features, code=features, features=features.detach())

    def embed(self, code: Code) -> Tensor:
        """The code itself."""
        return self.codes.check(code)

    def default_prior(self, sites: tuple[int, ...]) -> Prior:
        """A histogram of each feature, rounded to a quarter of its standard deviation."""
        return QuantizedHistogram(sites, self.out_features)
