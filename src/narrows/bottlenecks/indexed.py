"""What all bottlenecks share whose code is one integer at each site."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from narrows.bottlenecks.base import Bottleneck, RateArgument
from narrows.bottlenecks.quantizers.entropy_constraint import EntropyConstraint
from narrows.codes import Code, Indices
from narrows.functional.nearest import nearest
from narrows.functional.usage import tally, usage, usage_advice
from narrows.latent import Latent
from narrows.priors.base import Prior
from narrows.priors.categorical import CategoricalPrior, MovingHistogram

STRENGTHS = ("0.01", "0.03", "0.1", "0.3")


class Indexed(Bottleneck):
    """Codes features as indices k `[batch, *sites]`, 0 <= k < size, each of which means a vector.

    With an entropy constraint k is the code whose distance and bits cost least together, for what
    is compared (`_compared`) with the codewords.

    Args:
        size: number of codes.
        dim: width of the features and of the vectors.
        entropy_constraint: its lambda; None takes the nearest code.

    Raises:
        ValueError: if lambda is not above 0.
    """

    follows: bool = False

    def __init__(self, size: int, dim: int, *, entropy_constraint: float | None = None) -> None:
        super().__init__(dim, dim)
        self.size: int = size
        self.constraint: EntropyConstraint | None = None
        if entropy_constraint is not None:
            self.set_rate_weight(entropy_constraint)
            self.rate_argument = RateArgument("bottleneck.entropy_constraint", STRENGTHS)

    @property
    def codes(self) -> Indices:
        """One index below `size` at each site."""
        return Indices(self.size)

    @abstractmethod
    def vectors(self, index: Tensor) -> Tensor:
        """The vectors `[batch, *sites, dim]` that indices `[batch, *sites]` mean."""

    @property
    def codewords(self) -> Tensor:
        """The vectors of all codes, `[size, dim]`."""
        device = next(iter([*self.parameters(), *self.buffers()])).device
        return self.vectors(torch.arange(self.size, device=device))

    def embed(self, code: Code) -> Tensor:
        """The vectors `[batch, *sites, dim]` of a code `[batch, *sites]`.

        Raises:
            ValueError: if the code is not one tensor of integers in 0..size-1.
        """
        return self.vectors(self.codes.check(code))

    def default_prior(self, sites: tuple[int, ...]) -> Prior:
        """Uniform indices, log2(size) bits a site; its `fit` makes it their histogram."""
        if self.constraint is not None:
            return self.moving_prior(sites)
        return CategoricalPrior(sites, self.size)

    def moving_prior(self, sites: tuple[int, ...]) -> Prior:
        """A histogram of the indices, which follows training."""
        return MovingHistogram(sites, self.size)

    @property
    def rate_weight(self) -> float | None:
        """Lambda of the entropy constraint; 0 without one."""
        return 0.0 if self.constraint is None else float(self.constraint.strength)

    def set_rate_weight(self, weight: float, /) -> None:
        """Sets lambda; from now on the choice pays for its bits."""
        if self.constraint is None:
            made = EntropyConstraint(self.size, weight)
            some = next(iter([*self.parameters(), *self.buffers()]), None)
            self.constraint = made if some is None else made.to(some.device)
            self.follows = True
        self.constraint.strength.fill_(weight)

    @torch.no_grad()
    def update(self, latents: Sequence[Latent]) -> None:
        """Counts the codes that were chosen, where the choice pays for its bits."""
        if self.constraint is None or not latents:
            return
        rows = torch.cat([latent.features.reshape(-1, self.in_features) for latent in latents])
        index = torch.cat([torch.as_tensor(latent.code).flatten() for latent in latents])
        self.constraint.update(self._compared(rows), index, self.codewords)

    def _compared(self, features: Tensor) -> Tensor:
        """What of the features is compared with the codewords."""
        return features

    def _search(self, compared: Tensor, codewords: Tensor) -> Tensor:
        """The index of the nearest codeword, or of the cheapest under an entropy constraint."""
        search = nearest if self.constraint is None else self.constraint.nearest
        return search(compared, codewords)

    def summary(self, totals: Mapping[str, Tensor], _examples: int, /) -> dict[str, float]:
        """Usage of the codes over a whole set; see `narrows.functional.usage`."""
        return usage(totals["counts"])

    def advice(self, summary: Mapping[str, float]) -> list[str]:
        """What to try where many codes are never used."""
        return usage_advice(summary, self.size, self.remedies())

    def remedies(self) -> list[str]:
        """What this quantiser can be told to do against codes that nothing uses."""
        return []

    def _tally(self, index: Tensor) -> dict[str, Tensor]:
        """The stats behind `summary`."""
        return {"counts": tally(index, self.size)}
