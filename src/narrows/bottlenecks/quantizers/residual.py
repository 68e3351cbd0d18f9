"""Residual quantisation: each stage codes what the stages before it left over."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import ModuleList

from narrows.bottlenecks.base import COUNTS, Bottleneck, Gradient, RateArgument
from narrows.bottlenecks.indexed import Indexed, joined
from narrows.codes import Code, Indices, one_tensor
from narrows.functional.usage import tally, usage, usage_advice
from narrows.latent import Latent
from narrows.priors.base import Prior
from narrows.priors.categorical import CategoricalPrior, MovingHistogram
from narrows.recorded import build, spec

Value = TypeVar("Value")


class ResidualQuantizer(Bottleneck):
    """z = sum_s q_s(r_s) with r_1 = x and r_{s+1} = r_s - q_s(r_s).

    With vector quantisers q_s(r) is the codeword nearest to r. S stages of K codes name K^S vectors
    at S log2 K bits, with S K of them stored. The code is `[batch, *sites, stages]`; the first
    stages alone give a coarser z. Terms are those of the stages, summed; where stages weigh them
    differently, those of stage s are named `s.name`.

    Where all stages pass the gradient in one way (vector quantisers, SimVQ, lookup-free), it
    passes so from z to x once, and residuals carry none from stage to stage. Else (projections,
    finite scalars) z and the residuals carry the gradients of the stages, as in DAC.

    Args:
        stage: what each stage is made like, its seed going up by one from stage to stage; or the
            stages themselves, of any sizes and kinds: `Projected` gives a stage a width of its own.
        stages: number S of stages, where `stage` is one.
        shared: whether all stages use one codebook.
        dropout: share of training examples that keep only their first n stages, n uniform in
            1 to S, so that prefixes of the code decode well; their other indices are -1.

    Raises:
        TypeError: if a stage does not make one index at each site, or is trained with noise.
        ValueError: if an argument is out of range, stages differ in width, or the vectors of a
            stage have one length (a residual's length matters; `Projected` gives it any).

    Source: Zeghidour et al. 2021 (SoundStream), algorithm 1 and section III-C for dropout; shared
        codebooks Lee et al. 2022, section 3.1; projections and unit codes Kumar et al. 2023 (DAC),
        section 3.2.

    Example:
        >>> from narrows.bottlenecks import Projected, VectorQuantizer
        >>> quantizer = ResidualQuantizer(VectorQuantizer(size=256, dim=64), stages=4)
        >>> quantizer(torch.randn(2, 8, 8, 64)).code.shape
        torch.Size([2, 8, 8, 4])
        >>> units = [Projected(VectorQuantizer(k, 8, metric="cosine"), 64) for k in (1024, 256)]
        >>> ResidualQuantizer(units).codes.sizes
        (1024, 256)
    """

    rate_argument: RateArgument | None = RateArgument("bottleneck.stages", COUNTS)
    follows: bool = False

    def __init__(
        self,
        stage: Indexed | Sequence[Indexed],
        stages: int | None = None,
        *,
        shared: bool = False,
        dropout: float = 0.0,
    ) -> None:
        one = not isinstance(stage, Sequence)
        given = [*stage] if isinstance(stage, Sequence) else [stage]
        _check_stages(given)
        super().__init__(given[0].in_features, given[0].out_features)
        count = len(given) if stages is None else stages
        if count < 1 or not 0 <= dropout <= 1 or not (one or (count == len(given) and not shared)):
            raise ValueError(
                f"ResidualQuantizer: expected stages >= 1, dropout in [0, 1] and, for "
                f"{len(given)} given stages, their number and shared=False; got stages={stages}, "
                f"dropout={dropout}, shared={shared}"
            )
        if not one:
            self.rate_argument = None
        self.stages: int = count
        self.shared: bool = shared
        self.dropout: float = dropout
        copies = range(1 if shared else count)
        self.quantizers: ModuleList = ModuleList(
            (_like(given[0], s) for s in copies) if one else given
        )
        every = self._every
        self.size: int = max(quantizer.size for quantizer in every)
        same = len({quantizer.estimate for quantizer in every}) == 1
        self._estimate = every[0].estimate if same else None
        self.gradient: Gradient = every[0].gradient if self._estimate else "estimated"

    @property
    def weights(self) -> Mapping[str, float]:
        """Those of the stages."""
        names = [self._named(s, stage.weights) for s, stage in enumerate(self._every)]
        return {name: weight for weights in names for name, weight in weights.items()}

    @property
    def rate_weight(self) -> float | None:
        """Lambda of the stages' entropy constraint."""
        return self._every[0].rate_weight

    def set_rate_weight(self, weight: float, /) -> None:
        """Sets that of every stage."""
        for stage in self._every:
            stage.set_rate_weight(weight)

    @property
    def warming_up(self) -> bool:
        """True until the first stage's codewords have started."""
        return self._every[0].warming_up

    @property
    def codes(self) -> Indices:
        """One index for each stage; -1 where a stage was not sent."""
        return self._space(self.stages)

    def masked(self, features: Tensor, keep: Tensor) -> Latent:
        """As forward, for the sites that are kept; dropout is that of their examples."""
        number = self._kept_stages(features)
        if number is None:
            return self(features[keep])
        return self(features[keep], number=number[keep.nonzero()[:, 0]])

    def forward(self, features: Tensor, *, number: Tensor | None = None) -> Latent:
        """Codes features `[batch, *sites, dim]`; the code is `[batch, *sites, stages]`.

        Args:
            features: what is coded.
            number: of stages that each example keeps, `[batch]`; None draws it.
        """
        features = self._check(features)
        keep = self._kept_stages(features) if number is None else number
        residual, z = features, torch.zeros_like(features)
        codes: list[Tensor] = []
        terms: dict[str, Tensor] = {}
        for s, stage in enumerate(self._every):
            latent = stage(residual)
            index, part = torch.as_tensor(latent.code), latent.z.to(features.dtype)
            if self._estimate is not None:  # in warm-up latent.z is the features
                part = stage.decoded(index).detach().to(features.dtype)
            sent = None if keep is None else (keep > s).view(-1, *[1] * (index.dim() - 1))
            if sent is not None:
                index = index.masked_fill(~sent, -1)
                part = torch.where(sent.unsqueeze(-1), part, 0.0)
            for name, term in self._named(s, latent.terms).items():
                term = term if keep is None else term * (keep > s)
                terms[name] = terms[name] + term if name in terms else term
            codes.append(index)
            z, residual = z + part, residual - part
        if self._estimate is not None:
            z = self._every[0].warmed(features, self._estimate(features, z))
        stats = {"counts": torch.stack([tally(index, self.size) for index in codes])}
        return Latent(z, torch.stack(codes, -1), features.detach(), terms=terms, stats=stats)

    def embed(self, code: Code) -> Tensor:
        """The sum of the stages' vectors; an index of -1 adds nothing.

        Args:
            code: `[batch, *sites, n]` with n from 1 to the number of stages: a prefix decodes.
        """
        sent = one_tensor(code).shape[-1]
        if not 1 <= sent <= self.stages:
            raise ValueError(
                f"ResidualQuantizer: expected 1 to {self.stages} stages in the code's last axis, "
                f"got {sent}"
            )
        index = self._space(sent).check(code)
        return self._sum(index)

    def default_prior(self, sites: tuple[int, ...]) -> Prior:
        """Uniform indices; fitted, or with an entropy constraint, a histogram for each stage."""
        if self._every[0].pays_for_bits:
            return self.moving_prior(sites)
        return CategoricalPrior(sites, self.codes.each, channels=self.stages)

    def moving_prior(self, sites: tuple[int, ...]) -> Prior:
        """A histogram for each stage, which follows training."""
        return MovingHistogram(sites, self.codes.each, channels=self.stages)

    @torch.no_grad()
    def update(self, latents: Sequence[Latent]) -> None:
        """Each stage learns from the residuals that it was given."""
        if not latents:
            return
        rows = joined([latent.features.reshape(-1, self.in_features) for latent in latents])
        code = joined([torch.as_tensor(latent.code).flatten(0, -2) for latent in latents])
        if self.shared:
            residuals = [rows] + [rows - self._sum(code[:, :s]) for s in range(1, self.stages)]
            sent = code.T.flatten() >= 0
            self._every[0].learn(torch.cat(residuals)[sent], code.T.flatten()[sent])
            return
        residual = rows
        for s, stage in enumerate(self._every):
            sent = code[:, s] >= 0
            before = self._part(s, code)
            kept = slice(None) if bool(sent.all()) else sent
            if stage.learn(residual[kept], code[kept, s]):
                before = stage.vectors(stage.assign(residual))  # what it leaves over from now on
            residual = residual - before

    def summary(self, totals: Mapping[str, Tensor], _examples: int, /) -> dict[str, float]:
        """Usage over all stages: means of entropy and usage, the sum of dead codes."""
        pairs = zip(totals["counts"], self.codes.each, strict=True)
        each = [usage(counts[:size]) for counts, size in pairs]
        entropy = sum(one["entropy_bits"] for one in each) / self.stages
        return {
            "usage": sum(one["usage"] for one in each) / self.stages,
            "perplexity": 2.0**entropy,
            "entropy_bits": entropy,
            "dead_codes": sum(one["dead_codes"] for one in each),
        }

    def advice(self, summary: Mapping[str, float]) -> list[str]:
        """What to try where many codes are never used."""
        return usage_advice(summary, self.size, self._every[0].remedies())

    @property
    def _every(self) -> list[Indexed]:
        """The stage of each s; the same one again where it is shared."""
        stages = [stage for stage in self.quantizers if isinstance(stage, Indexed)]
        return stages * self.stages if self.shared else stages

    def _space(self, stages: int) -> Indices:
        """The codes of the first stages."""
        sizes = tuple(stage.size for stage in self._every[:stages])
        unlike = sizes if len({*sizes}) > 1 else None
        return Indices(max(sizes), stages, partial=True, sizes=unlike)

    def _named(self, s: int, values: Mapping[str, Value]) -> Mapping[str, Value]:
        """Terms or weights of stage s under their names in the sum."""
        every = self._every
        if all(stage.weights == every[0].weights for stage in every):
            return values
        return {f"{s}.{name}": value for name, value in values.items()}

    def _part(self, s: int, code: Tensor) -> Tensor:
        """What stage s adds to z."""
        index = code[..., s]
        vectors = self._every[s].decoded(index.clamp_min(0))
        return torch.where((index >= 0).unsqueeze(-1), vectors, 0.0)

    def _sum(self, code: Tensor) -> Tensor:
        """What the stages of a code that was checked add up to."""
        total = self._part(0, code)
        for s in range(1, code.shape[-1]):
            total = total + self._part(s, code)
        return total

    def _kept_stages(self, features: Tensor) -> Tensor | None:
        """How many stages each example keeps, `[batch]`; None if all of them."""
        if not (self.training and self.dropout > 0):
            return None
        batch = features.shape[0]
        number = torch.randint(1, self.stages + 1, (batch,), device=features.device)
        whole = torch.rand(batch, device=features.device) >= self.dropout
        return torch.where(whole, self.stages, number)


def _check_stages(stages: Sequence[Indexed]) -> None:
    """Refuses stages that cannot code each other's residuals."""
    for stage in stages:
        if stage.noisy:
            raise TypeError(
                f"ResidualQuantizer: {type(stage).__name__} is trained with noise, which leaves "
                "no residual to code; use noise=0"
            )
        if stage.unit:
            raise ValueError(
                "ResidualQuantizer: codes of unit length cannot follow a residual's length; use "
                "metric='euclidean', or put the stage into Projected"
            )
    if len({stage.in_features for stage in stages}) != 1:
        raise ValueError(
            "ResidualQuantizer: expected one or more stages of one width, got widths "
            f"{[stage.in_features for stage in stages]}; Projected gives a stage another width"
        )


def _like(stage: Indexed, s: int) -> Indexed:
    """A copy of the stage with vectors and draws of its own."""
    return build(_reseeded(spec(stage), s)) if s else copy.deepcopy(stage)


def _reseeded(description: Any, by: int) -> Any:
    """The description of a part, all of its seeds moved."""
    if isinstance(description, dict):
        moved = {name: _reseeded(value, by) for name, value in description.items()}
        seed = moved.get("seed")
        return {**moved, "seed": seed + by} if isinstance(seed, int) else moved
    return description
