"""A Gaussian mixture with full covariances over continuous codes, fitted after training."""

import math
import warnings
from collections.abc import Iterable
from typing import Self

import numpy as np
import torch
from torch import Tensor

from narrows.codes import Code, CodeSpace, Values, one_tensor
from narrows.functional.conditionals import Conditionals
from narrows.latent import Latent
from narrows.priors.base import ValuePrior
from narrows.priors.grid_cells import Cells, interval
from narrows.saving.arguments import check_draws

_MOST_CODES = 100_000  # that EM looks at; more change a mixture of full covariances little


class GaussianMixture(ValuePrior):
    r"""p(z) = prod over sites of sum_m w_m N(z; mu_m, L_m L_m^T), sites sharing the parameters.

    Two uses, told apart by what `fit` was given:

    Random codes (variational): a fit of the aggregate posterior, to draws z ~ q(z | x) of all
    training x. The rate is KL(q || p) by Monte Carlo, the mean over `draws` of
    log q(z) - log p(z).

    Deterministic codes (plain autoencoders): a density cannot price a point, so the code is
    rounded to a grid, dimension after dimension given those before it, and

    .. math:: p(k) = \sum_m w_m \prod_i \left[
        \Phi\!\left(\tfrac{z_i + \Delta_i/2 - c_{mi}}{s_{mi}}\right) -
        \Phi\!\left(\tfrac{z_i - \Delta_i/2 - c_{mi}}{s_{mi}}\right)\right], \quad
        z = \Delta k,

    which sums to 1 over all grid points exactly. c and s are mean and deviation of z_i given the
    rounded z_<i: rounding is taken as noise of variance Delta^2 / 12, for a component narrower
    than a cell must not trust the rounded value's last digits. One component is the Gaussian fit.

    Args:
        sites: grid of sites.
        dim: width of the code.
        components: of the mixture.
        step: quantisation step of deterministic codes, the same for all dimensions; None
            takes `fraction` of each dimension's standard deviation.
        fraction: see `step`.
        draws: Monte Carlo draws for the rate of random codes.

    Raises:
        ValueError: if a number is out of range.

    Source: full-covariance densities after training: Ghosh et al. 2020, From Variational to
    Deterministic Autoencoders, arXiv:1903.12436, section 4.

    Example:
        >>> code = torch.randn(500, 2)
        >>> latent = Latent(z=code, code=code, features=code)
        >>> prior = GaussianMixture((), 2, components=2, step=0.5).fit([latent])
        >>> prior.rate(latent).shape
        torch.Size([500])
    """

    prices_draws = True
    weights: Tensor
    means: Tensor
    factors: Tensor
    scales: Tensor
    steps: Tensor

    def __init__(
        self,
        sites: tuple[int, ...],
        dim: int,
        *,
        components: int = 10,
        step: float | None = None,
        fraction: float = 0.25,
        draws: int = 4,
    ) -> None:
        super().__init__(sites, dim)
        positive = fraction > 0 and (step is None or step > 0)
        check_draws("GaussianMixture", draws)
        if components < 1 or not positive:
            raise ValueError(
                "GaussianMixture: expected positive components, step and fraction, got "
                f"{components}, {step}, {fraction}"
            )
        self.step: float | None = step
        self.fraction: float = float(fraction)
        self.draws: int = draws
        self.register_buffer("weights", torch.zeros(components, dtype=torch.float64))
        self.register_buffer("means", torch.zeros(components, dim, dtype=torch.float64))
        self.register_buffer("factors", torch.zeros(components, dim, dim, dtype=torch.float64))
        self.register_buffer("scales", torch.zeros(components, dim, dtype=torch.float64))
        self.register_buffer("steps", torch.zeros(dim, dtype=torch.float64))  # 0: random codes

    @classmethod
    def check_suits(cls, codes: CodeSpace, sites: tuple[int, ...]) -> None:
        """Checks that the codes can have a density; see `Prior.check_suits`."""
        super().check_suits(codes, sites)
        if isinstance(codes, Values) and codes.exact_zeros:
            raise TypeError(
                f"{cls.__name__} is a density, to which exact zeros are infinitely unlikely, and "
                f"the bottleneck makes {codes}; QuantizedHistogram keeps them"
            )

    @property
    def rounds(self) -> bool:
        """True if it was fitted to deterministic codes, which it rounds to a grid."""
        return bool((self.steps > 0).all())

    def fit(self, latents: Iterable[Latent]) -> Self:
        """Expectation maximisation from a k-means start, in one pass over training latents.

        Raises:
            ValueError: if there are fewer codes than components.
        """
        # Slow to import, and only fitting needs it.
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture as Expectation

        parts, random = [], False
        for latent in latents:
            random = latent.posterior is not None
            code = latent.posterior.sample() if latent.posterior is not None else latent.code
            parts.append(self.vectors(code).detach().double().cpu())
        codes = torch.cat(parts) if parts else torch.zeros(0, self.dim)
        if len(codes) < max(2, len(self.weights)):
            raise ValueError(
                f"GaussianMixture.fit: expected at least {max(2, len(self.weights))} codes, got "
                f"{len(codes)}; use fewer components or more examples"
            )
        chosen = torch.randperm(len(codes), generator=torch.Generator().manual_seed(0))
        codes = codes[chosen[:_MOST_CODES]]
        spread = codes.std(0).clamp(min=1e-8)
        fit = Expectation(len(self.weights), random_state=0, max_iter=200, reg_covar=1e-6)
        with warnings.catch_warnings():
            # The likelihood is higher after 200 rounds than before; nothing rests on the rest.
            warnings.simplefilter("ignore", ConvergenceWarning)
            fit.fit((codes / spread).numpy())
        self.weights.copy_(torch.from_numpy(fit.weights_))
        self.means.copy_(torch.from_numpy(fit.means_) * spread)
        step = self.fraction * spread if self.step is None else torch.full_like(spread, self.step)
        self.steps.copy_(torch.zeros_like(step) if random else step)
        rounding = self.steps.cpu().square() / 12
        covariances = torch.from_numpy(fit.covariances_) * spread[:, None] * spread
        factors = torch.linalg.cholesky(covariances + rounding.diag())
        self.factors.copy_(factors)
        # The last rounding is not noise: it is what the cell's integral is over.
        given = factors.diagonal(dim1=1, dim2=2).square() - rounding
        self.scales.copy_(given.clamp(min=1e-7 * spread.square()).sqrt())
        return self

    def log_prob(self, code: Tensor) -> Tensor:
        """Log density of codes `[..., *sites, dim]`, summed over sites; nats.

        Of deterministic codes it is that of the code with its rounding noise.
        """
        lead = code.shape[: code.dim() - 1 - len(self.sites)]
        z = self.vectors(code).double()
        noise = torch.stack([self._whiten(z, m) for m in range(len(self.weights))], dim=1)
        volume = self.factors.diagonal(dim1=1, dim2=2).log().sum(1)
        each = -0.5 * (noise.square().sum(2) + self.dim * math.log(2 * math.pi)) - volume
        return self._over_sites((self.weights.log() + each).logsumexp(1), lead)

    def quantize(self, code: Code) -> Code:
        """Rounds deterministic codes to the grid; others and those before `fit` stay."""
        if not self.rounds:
            return code
        z = self.vectors(code)
        rounded = ((z.double() / self.steps).round() * self.steps).to(z.dtype)
        return rounded.view(one_tensor(code).shape)

    def rate(self, latent: Latent) -> Tensor:
        """KL(q || p) of random codes, -log p(quantised code) of others, `[batch]` in nats.

        Raises:
            ValueError: until fitted, or if fitted to codes of the other kind.
        """
        self._require_fit()
        if latent.posterior is not None:
            z = latent.posterior.rsample(torch.Size((self.draws,)))
            log_q = latent.posterior.log_prob(z).flatten(2).sum(2)
            return (log_q - self.log_prob(z).to(log_q)).mean(0)
        if not self.rounds:
            raise ValueError(
                "GaussianMixture: fitted to random codes, asked for the rate of a deterministic "
                "one; fit it to latents of this model"
            )
        z = self.vectors(self.quantize(latent.code)).double()
        joint = torch.stack([self._cells(z, m) for m in range(len(self.weights))], dim=1)
        return -self._over_sites((self.weights.log() + joint).logsumexp(1), (latent.batch,))

    def conditionals(self, n: int, code: Code | None = None) -> Conditionals:
        """Grid indices, each dimension given those before it.

        Raises:
            TypeError: if there is no grid: not fitted, or fitted to random codes.
        """
        if not self.rounds:
            reason = "it was fitted to random codes" if self.weights.any() else "it is not fitted"
            raise TypeError(
                f"GaussianMixture has no grid to round codes to: {reason}; fit it to deterministic "
                "codes, or use QuantizedHistogram for the means of random ones"
            )
        index = None
        if code is not None:
            index = (self.vectors(code).double() / self.steps).round().long().cpu().numpy()
        return self._walk(n, index)

    def _walk(self, n: int, index: np.ndarray | None) -> Conditionals:
        rows = n * math.prod(self.sites)
        parts = (self.weights, self.means, self.factors, self.scales, self.steps)
        weights, means, factors, scales, steps = (part.cpu().numpy() for part in parts)
        shares = [np.full(rows, weight) for weight in weights]
        whitened: list[list[np.ndarray]] = [[] for _ in weights]
        found = np.zeros((rows, self.dim), np.int64)
        for i in range(self.dim):
            centres = []
            for m, before in enumerate(whitened):
                terms = (f * w for f, w in zip(factors[m, i], before, strict=False))
                centres.append(sum(terms, np.full(rows, means[m, i])))
            cells = Cells(shares, centres, scales[:, i], steps[i])
            first, depth = interval(means[:, i], np.sqrt((factors[:, i] ** 2).sum(1)), steps[i])
            known = None if index is None else index[:, i]
            found[:, i] = yield from cells.walk(first, depth, known)
            for m, before in enumerate(whitened):
                before.append((found[:, i] * steps[i] - centres[m]) / factors[m, i, i])
            shares = cells.updated(found[:, i])
        values = torch.from_numpy(found).to(self.steps.device) * self.steps
        return values.to(torch.get_default_dtype()).view(n, *self.sites, self.dim)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Code:
        """Draws n codes `[n, *sites, dim]`, on the grid where there is one.

        Raises:
            ValueError: until fitted.
        """
        self._require_fit()
        rows = n * math.prod(self.sites)
        device = self.weights.device
        uniform = torch.rand(rows, generator=generator, dtype=torch.float64).to(device)
        which = torch.searchsorted(self.weights.cumsum(0), uniform).clamp(max=len(self.weights) - 1)
        noise = torch.randn(rows, self.dim, generator=generator, dtype=torch.float64).to(device)
        z = torch.zeros_like(noise)
        whitened = torch.zeros_like(noise)
        factors, means = self.factors[which], self.means[which]
        for i in range(self.dim):
            given = means[:, i] + (factors[:, i, :i] * whitened[:, :i]).sum(1)
            z[:, i] = given + self.scales[which, i] * noise[:, i]
            if self.rounds:  # what follows knows the rounded value only
                z[:, i] = (z[:, i] / self.steps[i]).round() * self.steps[i]
            whitened[:, i] = (z[:, i] - given) / factors[:, i, i]
        return z.to(torch.get_default_dtype()).view(n, *self.sites, self.dim)

    def _whiten(self, z: Tensor, m: int) -> Tensor:
        """L^-1 (z - mu) of vectors `[n, dim]`."""
        centred = (z - self.means[m]).T
        return torch.linalg.solve_triangular(self.factors[m], centred, upper=False).T

    def _cells(self, z: Tensor, m: int) -> Tensor:
        """Log mass of the cells around z under component m, `[n]`."""
        scale = self.scales[m]
        centre = self._whiten(z, m) * self.factors[m].diagonal() / scale
        half = self.steps / (2 * scale)
        return log_interval(centre - half, centre + half).sum(1)

    def _over_sites(self, nats: Tensor, lead: tuple[int, ...]) -> Tensor:
        return nats.view(*lead, math.prod(self.sites)).sum(-1)

    def _require_fit(self) -> None:
        if not self.weights.any():
            raise ValueError("GaussianMixture: call prior.fit(training latents) first")


def log_interval(low: Tensor, high: Tensor) -> Tensor:
    """log(Phi(high) - Phi(low)) without cancellation, also far out in a tail."""
    flip = low + high > 0  # by symmetry look at the lower tail, where Phi is small and exact
    low, high = torch.where(flip, -high, low), torch.where(flip, -low, high)
    upper, lower = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
    return upper + torch.log(-torch.expm1((lower - upper).clamp(max=-1e-300)))
