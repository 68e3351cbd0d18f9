"""Codes as one product and an activation, the form in which files of other libraries hold them."""

from typing import Literal, NamedTuple

from torch import Tensor

Activation = Literal["standard", "topk", "jumprelu", "gated"]


class Form(NamedTuple):
    r"""A code of signals x by one product: all that it follows from.

    .. math:: c = W x + b, \qquad
        a = \mathrm{relu}(c),\; \mathrm{topk}(\mathrm{relu}(c)),\; \mathrm{relu}(c)[c > \theta]
        \text{ or } [c > 0]\, \mathrm{relu}(e^r (c - b) + m)

    Attributes:
        activation: which of the four.
        weight: W, `[K, dim]`.
        bias: b, `[K]`; of the gates where there are any.
        k: of "topk".
        threshold: theta of "jumprelu", `[K]`.
        inclusive: True if what equals its threshold is kept.
        gates: r and m of "gated", `[K]` each.
    """

    activation: Activation
    weight: Tensor
    bias: Tensor
    k: int | None = None
    threshold: Tensor | None = None
    inclusive: bool = False
    gates: tuple[Tensor, Tensor] | None = None

    def scaled(self, scale: Tensor) -> "Form":
        """The same for signals of another unit, in which values are larger by `scale`.

        One number, or one for each atom; W then takes signals of either unit.
        """
        threshold = None if self.threshold is None else scale * self.threshold
        gates = None if self.gates is None else (self.gates[0], scale * self.gates[1])
        return self._replace(bias=scale * self.bias, threshold=threshold, gates=gates)
