"""Sparse codes of one vector that give another."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from narrows.bottlenecks.sparse.coder import Coder, Problem
from narrows.bottlenecks.sparse.dictionary import SparseDictionary
from narrows.bottlenecks.sparse.state import move_scale


class Transcoder(SparseDictionary):
    r"""Codes an input x sparsely so that a dictionary gives a target y: an MLP's output, say.

    .. math:: a = \mathrm{coder}(W (x - \mu_x) / s_x + b), \qquad z = \mu_y + s_y\, a D,
        \qquad \mathcal{L} = \|y - z\|^2 + \text{the coder's own terms}, \qquad |d_j| = 1

    Features are pairs, `(x, y)` side by side: `network=Pairs(inputs)` passes them on. The code
    depends on x alone; y is what training compares with. Centre and scale of both run along, so
    inputs and targets may differ in unit and width. A dead atom becomes the direction of a target
    that its code left unexplained, with an encoder that points to that target's input.

    Args:
        size: number of atoms K.
        inputs: width of x.
        outputs: width of y.
        coder: with an encoder of its own: `Untied(TopK(k, refit=False, nonnegative=True))`,
            `ReLU`, `JumpReLU`, `Gated`, or `AuxK` and `Matryoshka` around one.
        target_l0: as of `SparseDictionary`.

    Raises:
        TypeError: if the coder compares signals with atoms, which have another width here.
        ValueError: if an argument is out of range.

    Source:
        Dunefsky, Chlenski and Nanda 2024, "Transcoders Find Interpretable LLM Feature Circuits",
        there with an L1 penalty.

    Example:
        >>> from narrows.bottlenecks import TopK, Untied
        >>> coder = Untied(TopK(2, refit=False, nonnegative=True))
        >>> Transcoder(32, inputs=8, outputs=5, coder=coder)(torch.randn(4, 13)).z.shape
        torch.Size([4, 5])
    """

    input_centre: Tensor
    input_scale: Tensor

    def __init__(
        self, size: int, inputs: int, *, outputs: int, coder: Coder, target_l0: float | None = None
    ) -> None:
        if inputs < 1:
            raise ValueError(f"Transcoder: expected inputs >= 1, got {inputs}")
        if not coder.has_encoder:
            raise TypeError(
                f"Transcoder({coder}): atoms have the width of the target, so the coder needs an "
                "encoder for the input: Untied(...) around it, ReLU, JumpReLU or Gated"
            )
        super().__init__(size, outputs, coder=coder, gradient="implicit", target_l0=target_l0)
        self.inputs: int = inputs
        self.in_features: int = inputs + outputs
        self.learned = coder.learned(size, inputs, l0=self.expected_l0)
        self._renew(torch.arange(size), torch.randn(size, inputs))
        self.register_buffer("input_centre", torch.zeros(inputs))
        self.register_buffer("input_scale", torch.ones(()))

    @classmethod
    def fitted(cls, arguments: Mapping[str, int], /, *, dim: int, inputs: int) -> dict[str, int]:
        """Widths of input and target; also as many more atoms as inputs are wider."""
        if not inputs:  # no pairs: training says so
            return {}
        size = arguments["size"]
        more = max(size, size * inputs // arguments["inputs"])
        return {"inputs": inputs, "outputs": dim - inputs, "size": more}

    @property
    def weights(self) -> Mapping[str, float]:
        """The dictionary's own loss, and the coder's."""
        return {"dictionary": 1.0, **self.coder.weights}

    def _problem(self, features: Tensor) -> Problem:
        given, wanted = self._pair(features)
        signals = (given - self.input_centre.to(given)) / self.input_scale.to(given)
        atoms = self.atoms.to(signals.dtype)
        return Problem(
            signals, atoms, self.level, self.training, self.learned, target=self._signals(wanted)
        )

    def _passed_on(
        self, features: Tensor, z: Tensor, fit: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        # The dictionary learns from its own loss, whose unit is that of the coder's.
        return z if features.requires_grad else z.detach(), {"dictionary": fit}

    @property
    def _unit(self) -> Tensor:
        return self.input_scale

    def _follow(self, features: Sequence[Tensor], rate: float) -> None:
        given, wanted = zip(*map(self._pair, features), strict=True)
        super()._follow(wanted, rate)
        move_scale(self.input_centre, self.input_scale, given, rate)

    @torch.no_grad()
    def _renew(self, spots: Tensor, signals: Tensor | None = None) -> None:
        """Points encoders to inputs; they stay where only atoms were given."""
        if self.learned is not None and signals is not None and len(spots):
            self.learned.renew(spots, normalize(signals, dim=1))

    def _pair(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets, one a row."""
        rows = features.reshape(-1, self.in_features)
        return rows[:, : self.inputs], rows[:, self.inputs :]
