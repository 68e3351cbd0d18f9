"""Vector quantisation: each site becomes the nearest of K learned vectors."""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from narrows.bottlenecks.base import SIZES, Gradient, RateArgument
from narrows.bottlenecks.indexed import ESTIMATES, STRENGTHS, Estimate, Indexed
from narrows.bottlenecks.quantizers.codebook import Codebook, CodebookLearning, check_arguments
from narrows.functional.commitment import commit, commit_rotated, squared_distance
from narrows.latent import Latent


class VectorQuantizer(Indexed):
    """z = c_k with k = argmin_k ||x - c_k||^2 at each site.

    Terms, each summed over sites and width: `commitment` = ||x - sg[z]||^2 draws the encoder to
    its codes, weighted by beta; with a gradient codebook `codebook` = ||sg[x] - z||^2 draws the
    codes to the encoder, weighted by 1. With moving averages the codes follow in `update`.
    With `learning.entropy_constraint` k is the code whose distance and bits cost least together.

    Args:
        size: number K of codes; a site costs at most log2 K bits.
        dim: width of the features.
        learning: how the codebook starts, learns, and revives unused codewords.
        metric: "euclidean", or "cosine": features and codes are brought to unit length.
        estimator: how the gradient passes: "straight_through" or "rotation".
        commitment: beta, the weight of the commitment alone.
        seed: of the private generator behind init and revival.

    Raises:
        ValueError: if an argument is out of its range.

    Source: van den Oord, Vinyals, Kavukcuoglu 2017, equations 1 to 3 and appendix A.1; cosine
        codes Yu et al. 2021; revival after Dhariwal et al. 2020, by time unused rather than by a
        threshold on the moving count.

    Example:
        >>> quantizer = VectorQuantizer(size=512, dim=64)
        >>> latent = quantizer(torch.randn(2, 8, 8, 64))
        >>> latent.z.shape, latent.code.shape
        (torch.Size([2, 8, 8, 64]), torch.Size([2, 8, 8]))
        >>> quantizer.update([latent])  # after each optimiser step; narrows.fit does it
    """

    rate_argument: RateArgument | None = RateArgument("bottleneck.size", SIZES)
    gradient: Gradient = "straight_through"

    def __init__(
        self,
        size: int,
        dim: int,
        *,
        learning: CodebookLearning = CodebookLearning(),  # noqa: B008 (frozen)
        metric: Literal["euclidean", "cosine"] = "euclidean",
        estimator: Literal["straight_through", "rotation"] = "straight_through",
        commitment: float = 0.25,
        seed: int = 0,
    ) -> None:
        super().__init__(size, dim, entropy_constraint=learning.entropy_constraint)
        check_arguments(
            self,
            size=(size, size >= 1, "at least 1"),
            metric=(metric, metric in ("euclidean", "cosine"), "euclidean or cosine"),
            estimator=(estimator, estimator in ESTIMATES, " or ".join(ESTIMATES)),
            commitment=(commitment, commitment >= 0, "at least 0"),
        )
        self.commitment: float = commitment
        self.metric: Literal["euclidean", "cosine"] = metric
        # Behind unit length or a rotation, dz/dx is something else than the identity.
        plain = estimator == "straight_through" and metric == "euclidean"
        self.gradient = "straight_through" if plain else "estimated"
        self._commit = commit if estimator == "straight_through" else commit_rotated
        unit = metric == "cosine"
        self.unit: bool = unit
        self.estimate: Estimate | None = None if unit else ESTIMATES[estimator]
        self.codebook: Codebook = Codebook(size, dim, learning=learning, unit=unit, seed=seed)
        if self.constraint is not None:
            self.rate_argument = RateArgument("bottleneck.learning.entropy_constraint", STRENGTHS)
        revival = learning.revive_after is not None
        learns = learning.method == "ema" or learning.init != "uniform" or revival
        self.follows: bool = learns or self.constraint is not None

    @property
    def weights(self) -> Mapping[str, float]:
        """beta for the commitment; 1 for the codebook's own term, where it has one."""
        weights = {"commitment": self.commitment}
        if self.codebook.learning.method == "gradient":
            weights["codebook"] = 1.0
        return weights

    def remedies(self) -> list[str]:
        """What is not yet set of the start, the warm-up and the revival of codes."""
        found = []
        if self.codebook.learning.init != "kmeans":
            found.append("start them on clusters of the data (learning.init='kmeans')")
        if not self.codebook.learning.warmup:
            found.append("train without them at first (learning.warmup=150)")
        if self.codebook.learning.revive_after is None:
            found.append("revive them (learning.revive_after=20)")
        return [*found, "use SimVQ for a large codebook"]

    def forward(self, features: Tensor) -> Latent:
        """Codes features `[batch, *sites, dim]`; the code is int64 indices `[batch, *sites]`."""
        features = self._check(features)
        x, codes = self._compared(features), self.codebook.codes
        index = self._search(x, codes)
        value = F.embedding(index, codes).to(x.dtype)
        if self.training and self.warms_up:
            # With 0 of the codes: data parallel training waits for every parameter's gradient.
            plain = x if self.codebook.learning.method == "ema" else x + 0 * value
            value = self.warmed(plain, value)
        z, distance = self._commit(x, value)
        terms = {"commitment": distance}
        if self.codebook.learning.method == "gradient":
            terms["codebook"] = squared_distance(x.detach(), value)
        return Latent(z, index, features.detach(), terms=terms, stats=self._tally(index))

    @property
    def warms_up(self) -> bool:
        """True if the first updates pass the features through."""
        return self.codebook.learning.warmup > 0 and not self._frozen

    def warmed(self, features: Tensor, value: Tensor) -> Tensor:
        """`value`; in training until the codewords have started, the features."""
        if not (self.training and self.warms_up):
            return value
        return self.codebook.warmed(features, value)

    def set_codewords(self, vectors: Tensor) -> None:
        """Puts the codewords at `vectors`, `[size, dim]`, and begins from there.

        Neither the start on data nor the warm-up takes place then. A codebook that stays as it
        is given is frozen: `requires_grad_(False)`.

        Raises:
            ValueError: for another shape, or vectors that are not finite.
        """
        self.codebook.give(vectors)

    def vectors(self, index: Tensor) -> Tensor:
        """The codes' vectors `[batch, *sites, dim]` of indices `[batch, *sites]`."""
        return F.embedding(index, self.codebook.codes)

    def _learn(self, features: Tensor, index: Tensor) -> bool:
        """Moves the codes: start, moving averages, revival."""
        before = self.codebook.codes.detach()
        started = self.codebook.update(features, index)
        if self.constraint is not None and not (started or self.warming_up):
            self.constraint.update(self._compared(features), index, before)
        return started

    def _compared(self, features: Tensor) -> Tensor:
        return F.normalize(features, dim=-1) if self.metric == "cosine" else features

    @property
    def warming_up(self) -> bool:
        """True until the codewords have started."""
        learning = self.codebook.learning
        return self.warms_up and int(self.codebook.updates) < learning.warmup
