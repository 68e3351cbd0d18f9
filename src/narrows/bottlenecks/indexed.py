"""What all bottlenecks share whose code is one integer at each site."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from narrows.bottlenecks.base import Bottleneck, RateArgument
from narrows.bottlenecks.quantizers.entropy_constraint import EntropyConstraint
from narrows.codes import Code, Indices
from narrows.following import HALF
from narrows.functional.nearest import nearest
from narrows.functional.straight_through import rotate, straight_through
from narrows.functional.usage import tally, usage, usage_advice
from narrows.latent import Latent
from narrows.priors.base import Prior
from narrows.priors.categorical import CategoricalPrior, MovingHistogram

STRENGTHS = ("0.01", "0.03", "0.1", "0.3")
Estimate: TypeAlias = Callable[[Tensor, Tensor], Tensor]
ESTIMATES: Mapping[str, Estimate] = {"straight_through": straight_through, "rotation": rotate}


class Indexed(Bottleneck):
    """Codes features as indices k `[batch, *sites]`, 0 <= k < size, each of which means a vector.

    With an entropy constraint k is the code whose distance and bits cost least together, for what
    is compared (`_compared`) with the codewords.

    Attributes:
        estimate: how the gradient passes from z to the features, the vectors taken as constant
            (`straight_through`, `rotate`); None where a map of the quantiser's own is between.
        unit: True if all vectors have one length.
        noisy: True if training adds noise in place of quantising; its codes are real numbers then.

    Args:
        size: number of codes.
        dim: width of the features and of the vectors.
        entropy_constraint: its lambda; None takes the nearest code.

    Raises:
        ValueError: if lambda is not above 0.
    """

    follows: bool = False
    estimate: Estimate | None = None
    unit: bool = False
    noisy: bool = False

    def __init__(self, size: int, dim: int, *, entropy_constraint: float | None = None) -> None:
        super().__init__(dim, dim)
        self.size: int = size
        self.constraint: EntropyConstraint | None = None
        if entropy_constraint is not None:
            self.set_rate_weight(entropy_constraint)
            self.rate_argument: RateArgument | None = RateArgument(
                "bottleneck.entropy_constraint", STRENGTHS
            )

    @property
    def codes(self) -> Indices:
        """One index below `size` at each site."""
        return Indices(self.size)

    @abstractmethod
    def vectors(self, index: Tensor) -> Tensor:
        """The vectors `[batch, *sites, dim]` that indices `[batch, *sites]` mean."""

    def decoded(self, index: Tensor) -> Tensor:
        """`vectors`, rounded as z is where the module was converted to half precision."""
        vectors = self.vectors(index)
        return vectors.to(self.dtype).float() if self.dtype in HALF else vectors

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
        if self.pays_for_bits:
            return self.moving_prior(sites)
        return CategoricalPrior(sites, self.size)

    def moving_prior(self, sites: tuple[int, ...]) -> Prior:
        """A histogram of the indices, which follows training."""
        return MovingHistogram(sites, self.size)

    @property
    def pays_for_bits(self) -> bool:
        """True with an entropy constraint."""
        return self.constraint is not None

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
        """Learns from the features and indices of one step; each example counts once."""
        if latents:
            features = [latent.features.reshape(-1, self.in_features) for latent in latents]
            index = [torch.as_tensor(latent.code).flatten() for latent in latents]
            self.learn(joined(features), joined(index))

    def learn(self, features: Tensor, index: Tensor) -> bool:
        """`update` from features `[n, dim]` and their indices `[n]`.

        Returns:
            Whether the vectors were put on these features just now.
        """
        self._since_update = 0
        return False if self.frozen else self._learn(features, index)

    def assign(self, features: Tensor) -> Tensor:
        """The indices `[...]` of features `[..., dim]`, as `forward` chooses them."""
        return self._search(self._compared(features), self.codewords)

    def warmed(self, _features: Tensor, value: Tensor) -> Tensor:
        """`value`; while training passes features through unquantised, the features."""
        return value

    def _learn(self, features: Tensor, index: Tensor) -> bool:
        """Counts the codes that were chosen, where the choice pays for its bits."""
        if self.constraint is not None:
            self.constraint.update(self._compared(features), index, self.codewords)
        return False

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


def joined(parts: Sequence[Tensor]) -> Tensor:
    """One tensor of all; not a copy where there is only one."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
