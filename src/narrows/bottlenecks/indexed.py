"""What all bottlenecks share whose code is one integer at each site."""

from abc import abstractmethod
from collections.abc import Mapping

from torch import Tensor

from narrows.bottlenecks.base import Bottleneck
from narrows.codes import Code, Indices
from narrows.functional.usage import tally, usage, usage_advice
from narrows.priors.base import Prior
from narrows.priors.categorical import CategoricalPrior


class Indexed(Bottleneck):
    """Codes features as indices k `[batch, *sites]`, 0 <= k < size, each of which means a vector.

    Args:
        size: number of codes.
        dim: width of the features and of the vectors.
    """

    def __init__(self, size: int, dim: int) -> None:
        super().__init__(dim, dim)
        self.size: int = size

    @property
    def codes(self) -> Indices:
        """One index below `size` at each site."""
        return Indices(self.size)

    @abstractmethod
    def vectors(self, index: Tensor) -> Tensor:
        """The vectors `[batch, *sites, dim]` that indices `[batch, *sites]` mean."""

    def embed(self, code: Code) -> Tensor:
        """The vectors `[batch, *sites, dim]` of a code `[batch, *sites]`.

        Raises:
            ValueError: if the code is not one tensor of integers in 0..size-1.
        """
        return self.vectors(self.codes.check(code))

    def default_prior(self, sites: tuple[int, ...]) -> Prior:
        """Uniform indices, log2(size) bits a site; its `fit` makes it their histogram."""
        return CategoricalPrior(sites, self.size)

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
