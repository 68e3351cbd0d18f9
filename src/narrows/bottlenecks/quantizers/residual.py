"""Residual quantisation: each stage codes what the stages before it left over."""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import ModuleList

from narrows.bottlenecks.base import COUNTS, Bottleneck, Gradient, RateArgument
from narrows.bottlenecks.quantizers.vector import VectorQuantizer
from narrows.codes import Code, Indices
from narrows.functional.nearest import nearest
from narrows.functional.straight_through import rotate, straight_through
from narrows.functional.usage import tally, usage, usage_advice
from narrows.latent import Latent
from narrows.priors.base import Prior
from narrows.priors.categorical import CategoricalPrior, MovingHistogram


class ResidualQuantizer(Bottleneck):
    """z = sum_s c_s[k_s] with r_1 = x, k_s = argmin_k ||r_s - c_s[k]||^2, r_{s+1} = r_s - c_s[k_s].

    S stages of K codes name K^S vectors at S log2 K bits, with S K of them stored. The code is
    `[batch, *sites, stages]`; the first stages alone give a coarser z. Residuals carry no
    gradient from stage to stage; the gradient passes from z to x as the stage's estimator says.
    Terms are those of the stages, summed.

    Args:
        stage: what each stage is made like; its seed goes up by one from stage to stage.
        stages: number S of stages.
        shared: whether all stages use one codebook.
        dropout: share of training examples that keep only their first n stages, n uniform in
            1 to S, so that prefixes of the code decode well; their other indices are -1.

    Raises:
        TypeError: if `stage` is no `VectorQuantizer`.
        ValueError: if an argument is out of range, or the stage compares by cosine (a residual's
            length matters).

    Source: Zeghidour et al. 2021 (SoundStream), algorithm 1 and section III-C for dropout; shared
        codebooks Lee et al. 2022, section 3.1.

    Example:
        >>> quantizer = ResidualQuantizer(VectorQuantizer(size=256, dim=64), stages=4)
        >>> quantizer(torch.randn(2, 8, 8, 64)).code.shape
        torch.Size([2, 8, 8, 4])
    """

    rate_argument: RateArgument | None = RateArgument("bottleneck.stages", COUNTS)
    follows: bool = False
    gradient: Gradient = "straight_through"

    def __init__(
        self, stage: VectorQuantizer, stages: int, *, shared: bool = False, dropout: float = 0.0
    ) -> None:
        if not isinstance(stage, VectorQuantizer):
            raise TypeError(
                f"ResidualQuantizer: expected a VectorQuantizer as stage, got "
                f"{type(stage).__name__}; for other quantisers side by side use Split"
            )
        super().__init__(stage.in_features, stage.out_features)
        if stages < 1 or not 0 <= dropout <= 1:
            raise ValueError(
                f"ResidualQuantizer: expected stages >= 1 and dropout in [0, 1], got {stages} "
                f"and {dropout}"
            )
        if stage.metric == "cosine":
            raise ValueError(
                "ResidualQuantizer: codes of unit length cannot follow a residual's length; use "
                "metric='euclidean'"
            )
        self.stages: int = stages
        self.shared: bool = shared
        self.dropout: float = dropout
        self.size: int = stage.size
        self.gradient = stage.gradient
        self._estimate = straight_through if stage.estimator == "straight_through" else rotate
        self.quantizers: ModuleList = ModuleList(
            _like(stage, s) for s in range(1 if shared else stages)
        )

    @property
    def weights(self) -> Mapping[str, float]:
        """Those of a stage."""
        return self._stage(0).weights

    @property
    def rate_weight(self) -> float | None:
        """Lambda of the stages' entropy constraint."""
        return self._stage(0).rate_weight

    def set_rate_weight(self, weight: float, /) -> None:
        """Sets that of every stage."""
        for s in range(len(self.quantizers)):
            self._stage(s).set_rate_weight(weight)

    @property
    def warming_up(self) -> bool:
        """True until the first stage's codewords have started."""
        return self._stage(0).warming_up

    @property
    def codes(self) -> Indices:
        """One index for each stage; -1 where a stage was not sent."""
        return Indices(self.size, self.stages, partial=True)

    def forward(self, features: Tensor) -> Latent:
        """Codes features `[batch, *sites, dim]`; the code is `[batch, *sites, stages]`."""
        features = self._check(features)
        keep = self._kept_stages(features)
        residual, total = features, torch.zeros_like(features)
        codes, counts, terms = [], [], {}
        for s in range(self.stages):
            latent = self._stage(s)(residual)
            sent = (keep > s).reshape(-1, *[1] * (features.dim() - 1))
            part = torch.where(sent, self._stage(s).vectors(latent.code), 0.0).to(features.dtype)
            codes.append(latent.code.masked_fill(~sent.squeeze(-1), -1))
            counts.append(tally(codes[-1], self.size))
            for name, term in latent.terms.items():
                terms[name] = terms.get(name, 0.0) + term * (keep > s)
            total = total + part.detach()
            residual = residual - part.detach()
        code = torch.stack(codes, -1)
        z = self._estimate(features, total)
        if self.training and self._stage(0).warms_up:
            z = self._stage(0).codebook.warmed(features, z)
        return Latent(
            z, code, features.detach(), terms=terms, stats={"counts": torch.stack(counts)}
        )

    def embed(self, code: Code) -> Tensor:
        """The sum of the stages' vectors; an index of -1 adds nothing.

        Args:
            code: `[batch, *sites, n]` with n from 1 to the number of stages: a prefix decodes.
        """
        index = Indices(self.size, partial=True).check(code)
        if not 1 <= index.shape[-1] <= self.stages:
            raise ValueError(
                f"ResidualQuantizer: expected 1 to {self.stages} stages in the code's last axis, "
                f"got {index.shape[-1]}"
            )
        total = self._part(0, index)
        for s in range(1, index.shape[-1]):
            total = total + self._part(s, index)
        return total

    def default_prior(self, sites: tuple[int, ...]) -> Prior:
        """Uniform indices; fitted, or with an entropy constraint, a histogram for each stage."""
        if self.rate_weight:
            return self.moving_prior(sites)
        return CategoricalPrior(sites, self.size, channels=self.stages)

    def moving_prior(self, sites: tuple[int, ...]) -> Prior:
        """A histogram for each stage, which follows training."""
        return MovingHistogram(sites, self.size, channels=self.stages)

    @torch.no_grad()
    def update(self, latents: Sequence[Latent]) -> None:
        """Each stage's codebook follows the residuals that it was given."""
        if not latents:
            return
        rows = torch.cat([latent.features.reshape(-1, self.in_features) for latent in latents])
        code = torch.cat([torch.as_tensor(latent.code).flatten(0, -2) for latent in latents])
        if self.shared:
            residuals = [rows - self._prefix(code, s) for s in range(self.stages)]
            sent = code.T.flatten() >= 0
            self._stage(0).learn(torch.cat(residuals)[sent], code.T.flatten()[sent])
            return
        residual = rows
        for s in range(self.stages):
            sent = code[:, s] >= 0
            before = self._part(s, code)
            started = self._stage(s).learn(residual[sent], code[sent, s])
            if started:  # the next stage starts on what this one now leaves over
                codes = self._stage(s).codebook.codes
                before = codes[nearest(residual, codes)]
            residual = residual - before

    def summary(self, totals: Mapping[str, Tensor], _examples: int, /) -> dict[str, float]:
        """Usage over all stages: means of entropy and usage, the sum of dead codes."""
        each = [usage(counts) for counts in totals["counts"]]
        entropy = sum(one["entropy_bits"] for one in each) / self.stages
        return {
            "usage": sum(one["usage"] for one in each) / self.stages,
            "perplexity": 2.0**entropy,
            "entropy_bits": entropy,
            "dead_codes": sum(one["dead_codes"] for one in each),
        }

    def advice(self, summary: Mapping[str, float]) -> list[str]:
        """What to try where many codes are never used."""
        return usage_advice(summary, self.size, self._stage(0).remedies())

    def _stage(self, s: int) -> VectorQuantizer:
        found = self.quantizers[0 if self.shared else s]
        assert isinstance(found, VectorQuantizer)
        return found

    def _part(self, s: int, code: Tensor) -> Tensor:
        """What stage s adds to z."""
        index = code[..., s]
        vectors = self._stage(s).vectors(index.clamp_min(0))
        return torch.where((index >= 0).unsqueeze(-1), vectors, 0.0)

    def _prefix(self, code: Tensor, s: int) -> Tensor | float:
        """What the stages before s add to z."""
        return self.embed(code[..., :s]) if s else 0.0

    def _kept_stages(self, features: Tensor) -> Tensor:
        """How many stages each example keeps, `[batch]`; all of them outside training."""
        batch = features.shape[0]
        if not (self.training and self.dropout > 0):
            return features.new_full((batch,), self.stages, dtype=torch.int64)
        number = torch.randint(1, self.stages + 1, (batch,), device=features.device)
        whole = torch.rand(batch, device=features.device) >= self.dropout
        return torch.where(whole, self.stages, number)


def _like(stage: VectorQuantizer, s: int) -> VectorQuantizer:
    """A copy of the stage with vectors and draws of its own."""
    made = copy.deepcopy(stage)
    if s:
        made.codebook.reset(made.codebook.seed + s)
    return made
