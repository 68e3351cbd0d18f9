"""A quantiser between two linear maps, so that it codes fewer (or more) numbers than there are."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from narrows.bottlenecks.base import Gradient
from narrows.bottlenecks.indexed import Indexed
from narrows.latent import Latent
from narrows.modes import without_autocast


class Projected(Indexed):
    """z = V q(U x + a) + b: the quantiser q looks up codes in its own, lower width.

    Factorised codes, and with q comparing by cosine unit-norm codes, keep large codebooks in use.
    The maps learn by the gradient that passes q, and by q's terms, which are those of U x + a.
    U starts with orthonormal rows and V as its transpose, so that z begins as the quantised
    projection of x.

    Args:
        quantizer: q.
        dim: width of the features and of z.

    Raises:
        TypeError: if `quantizer` makes no single index at each site.

    Source: Yu et al. 2021 (ViT-VQGAN), section 3.2; as a stage of a `ResidualQuantizer`, Kumar et
        al. 2023 (DAC), section 3.2. DAC finds codewords by cosine and decodes them at any length;
        here `metric="cosine"` also decodes unit vectors, as ViT-VQGAN does.

    Example:
        >>> from narrows.bottlenecks import VectorQuantizer
        >>> quantizer = Projected(VectorQuantizer(1024, 8, metric="cosine"), dim=64)
        >>> latent = quantizer(torch.randn(2, 5, 64))
        >>> latent.z.shape, latent.code.shape
        (torch.Size([2, 5, 64]), torch.Size([2, 5]))
    """

    gradient: Gradient = "estimated"

    def __init__(self, quantizer: Indexed, dim: int) -> None:
        super().__init__(quantizer.size, dim)
        self.quantizer: Indexed = quantizer
        self.inward: nn.Linear = nn.Linear(dim, quantizer.in_features)
        self.outward: nn.Linear = nn.Linear(quantizer.out_features, dim)
        nn.init.orthogonal_(self.inward.weight)
        with torch.no_grad():
            self.outward.weight.copy_(self.inward.weight.T)
        nn.init.zeros_(self.inward.bias)
        nn.init.zeros_(self.outward.bias)

    @property
    def weights(self) -> Mapping[str, float]:
        """Those of q."""
        return self.quantizer.weights

    @property
    def pays_for_bits(self) -> bool:
        """True if q has an entropy constraint."""
        return self.quantizer.pays_for_bits

    @property
    def rate_weight(self) -> float | None:
        """That of q."""
        return self.quantizer.rate_weight

    def set_rate_weight(self, weight: float, /) -> None:
        """Sets that of q."""
        self.quantizer.set_rate_weight(weight)

    @property
    def warming_up(self) -> bool:
        """True until q's codewords have started."""
        return self.quantizer.warming_up

    def forward(self, features: Tensor) -> Latent:
        """Codes features `[batch, *sites, dim]`; the code is that of q."""
        features = self._check(features)
        inner = self.quantizer(self._project(features))
        z = _affine(self.outward, inner.z.to(features.dtype))
        return Latent(z, inner.code, features.detach(), terms=inner.terms, stats=inner.stats)

    def vectors(self, index: Tensor) -> Tensor:
        """V c_k + b, `[batch, *sites, dim]`, of indices `[batch, *sites]`."""
        return _affine(self.outward, self.quantizer.decoded(index))

    def assign(self, features: Tensor) -> Tensor:
        """The indices that q gives to U x + a."""
        return self.quantizer.assign(self._project(features))

    def remedies(self) -> list[str]:
        """Those of q."""
        return self.quantizer.remedies()

    def _project(self, features: Tensor) -> Tensor:
        return _affine(self.inward, features)

    def _learn(self, features: Tensor, index: Tensor) -> bool:
        return self.quantizer.learn(self._project(features), index)


def _affine(layer: nn.Linear, x: Tensor) -> Tensor:
    """The layer in the precision of x, under any autocast."""
    with without_autocast(x.device):
        return F.linear(x, layer.weight.to(x.dtype), layer.bias.to(x.dtype))
