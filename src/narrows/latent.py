"""What a bottleneck returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor
from torch.distributions import Distribution

from narrows.codes import Code, is_discrete


@dataclass(frozen=True, eq=False)
class Latent:
    """The frozen result of a bottleneck for one batch.

    Attributes:
        z: the decoder's input, `[batch, *sites, out_features]`.
        code: what would be stored; `bottleneck.embed(code)` equals `z` in eval.
        features: what the bottleneck was given, detached; running updates learn from it.
        posterior: q(code | x) if the code is random, over `[batch, *sites, ...]`, else None.
        terms: the bottleneck's own losses, unweighted, by name, each `[batch]` in nats or in
            squared units summed over sites and features (a sum, as -log p is).
        stats: detached totals over this batch by name; adding those of several batches gives
            the totals of all their examples, so measures never depend on the batch size.
        log_q: log q(code | x), `[batch]` in nats, where the code was drawn without
            reparameterisation, so that its gradient needs the score function; else None.
    """

    z: Tensor
    code: Code
    features: Tensor
    posterior: Distribution | None = None
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    stats: Mapping[str, Tensor] = field(default_factory=dict)
    log_q: Tensor | None = None

    @property
    def has_rate(self) -> bool:
        """True if a rate is defined: the code is random, or discrete.

        A deterministic continuous code carries infinitely many bits; it has a rate only after
        it has been quantised with a stated step (`Prior.quantize`).
        """
        return self.posterior is not None or is_discrete(self.code)

    @property
    def batch(self) -> int:
        """Number of examples."""
        return self.z.shape[0]


@dataclass(frozen=True, eq=False)
class RoundedLatent(Latent):
    """The latent of a code whose real values the bottleneck rounded: it is discrete."""

    @property
    def has_rate(self) -> bool:
        """True."""
        return True


@dataclass(frozen=True, eq=False)
class JointLatent(Latent):
    """The latent of several bottlenecks side by side.

    Attributes:
        parts: the latent of each.
    """

    parts: tuple[Latent, ...] = ()

    @property
    def has_rate(self) -> bool:
        """True if every part has one."""
        return all(part.has_rate for part in self.parts)
