"""A variational latent with exact zeros."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from narrows.bottlenecks.base import BETA, Bottleneck, Gradient, RateArgument
from narrows.bottlenecks.variational import positive
from narrows.codes import Code, Values
from narrows.distributions import SpikeSlab
from narrows.latent import Latent
from narrows.priors.base import Prior
from narrows.priors.factorial import SpikeAndSlabPrior


class SpikeAndSlab(Bottleneck):
    """q = g N(m, s^2) + (1 - g) delta_0 per dimension; z = code, with exact zeros.

    The features are `[m, raw scale, gate logits]`. In training gate and slab are drawn: the gate
    is hard, and its gradient is that of the relaxed gate sigmoid((logit + logistic noise) / T).
    In eval the code is m where x raises the gate above the prior's activity, else 0.

    The KL is closed, `narrows.priors.SpikeAndSlabPrior`.

    Args:
        dim: width of the code; the encoder delivers `3 * dim` features.
        activity: the prior's expected fraction of dimensions that are not 0. Features of zero
            give this posterior activity too.
        temperature: T.

    Raises:
        ValueError: if the activity is not in (0, 1), or the temperature not above 0.

    Source: Tonolini, Jensen & Murray-Smith (2019), "Variational sparse coding", eq. 4 to 8. They
        relax the gate in the forward pass too; here it is hard (Maddison, Mnih & Teh, 2017, for
        the relaxation), so that a zero is a zero in training as in eval.

    Example:
        >>> import torch
        >>> latent = SpikeAndSlab(3).eval()(torch.zeros(5, 9))
        >>> float(latent.z.abs().sum())
        0.0
    """

    rate_argument: RateArgument | None = BETA
    gradient: Gradient = "estimated"

    def __init__(self, dim: int, activity: float = 0.2, *, temperature: float = 0.5) -> None:
        super().__init__(3 * dim, dim)
        if not 0 < activity < 1:
            raise ValueError(f"SpikeAndSlab: activity must be in (0, 1), got {activity}")
        if not temperature > 0:
            raise ValueError(f"SpikeAndSlab: temperature must be above 0, got {temperature}")
        self.dim: int = dim
        self.activity: float = activity
        self.temperature: float = temperature
        # Made once, because no module can be made inside a compiled forward pass; not a part.
        self._measure = (SpikeAndSlabPrior((), dim, activity=activity),)

    @property
    def codes(self) -> Values:
        """Values, many of which are exactly 0."""
        return Values(self.dim, exact_zeros=True)

    def forward(self, features: Tensor) -> Latent:
        """Codes features `[batch, *sites, 3 * dim]`; draws in training."""
        features = self._check(features)
        location, raw, gates = features.split(self.dim, -1)
        prior_logit = math.log(self.activity) - math.log1p(-self.activity)
        posterior = SpikeSlab(gates + prior_logit, location, scale=positive(raw))
        code = self._draw(posterior) if self.training else location * (gates > 0)
        return Latent(
            z=code,
            code=code,
            features=features.detach(),
            posterior=posterior,
            stats={} if self.training else self._stats(posterior),
        )

    def embed(self, code: Code) -> Tensor:
        """The code itself."""
        return self.codes.check(code)

    def default_prior(self, sites: tuple[int, ...]) -> Prior:
        """Independent dimensions, open with the probability `activity`."""
        return SpikeAndSlabPrior(sites, self.dim, activity=self.activity)

    def summary(self, totals: Mapping[str, Tensor], examples: int) -> dict[str, float]:
        """L0: values other than 0 that a drawn code has per site, in the mean; nats per example."""
        positions = totals["positions"].clamp(min=1)
        usage = totals["open"] / positions
        informative = totals["kl"] / positions > 0.01
        return {
            "l0": float(usage.sum()),
            "active_fraction": float(usage.mean()),
            "active_units": float(informative.sum()),
            "units": float(self.dim),
            "kl_nats": float(totals["kl"].sum()) / max(examples, 1),
        }

    def advice(self, summary: Mapping[str, float]) -> list[str]:
        """Says so when the units have collapsed to the prior."""
        active, units = int(summary["active_units"]), int(summary["units"])
        if active > units // 4:
            return []
        return [
            f"{active}/{units} units carry more than 0.01 nats: posterior collapse; try a beta "
            "warm-up or a larger activity"
        ]

    def _draw(self, posterior: SpikeSlab) -> Tensor:
        uniform = torch.rand_like(posterior.logits).clamp(1e-6, 1 - 1e-6)
        noisy = posterior.logits + uniform.logit()
        slab = torch.addcmul(posterior.loc, posterior.scale, torch.randn_like(posterior.loc))
        soft = (noisy / self.temperature).sigmoid()
        # The value is the hard gate's to the bit; the difference carries the gradient alone.
        return slab * (noisy > 0) + (soft - soft.detach()) * slab.detach()

    def _stats(self, posterior: SpikeSlab) -> dict[str, Tensor]:
        with torch.no_grad():
            gates = posterior.logits.sigmoid()
            kl = self._measure[0].divergence(posterior)
            return {
                "kl": kl.reshape(-1, self.dim).sum(0, dtype=torch.float64),
                "open": gates.reshape(-1, self.dim).sum(0, dtype=torch.float64),
                "positions": torch.full(
                    (), math.prod(gates.shape[:-1]), dtype=torch.float64, device=gates.device
                ),
            }
