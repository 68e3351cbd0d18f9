"""Sparse codes with rounded values, and no atom that is not worth its bits."""

import torch
from torch import Tensor, nn

from narrows.codes import Atoms
from narrows.functional.straight_through import straight_through
from narrows.priors.sparse.factorial import MovingSparseFactorial
from narrows.sparse.solution import canonical

GRAIN = 0.5  # the step of priors of sparse codes, unless they are told another


class AtomConstraint(nn.Module):
    r"""Rounds values a to q w, and drops an atom whose bits cost more than it brings.

    .. math:: q = \arg\min_q\ (a - q w)^2 + \lambda (-\log p_j(q)), \qquad w^2 = 6 \lambda

    over q = 0 and the whole numbers of a's sign; p is a Bernoulli support times a two-sided
    geometric for each atom, which follows training. lambda is what a nat is worth to a uniform
    quantiser of step w: its distortion w^2 / 12 falls by w^2 / 6 for each nat of its rate -log w.
    So lambda alone moves the rate, from 0 to as fine as wanted. Atoms count as orthogonal.

    Args:
        size: number of atoms K.
        strength: lambda at first; a nat costs as much as a squared distance of lambda s^2, s
            being the features' running scale. Codes hold multiples of `GRAIN`, so that a prior's
            step need not follow w.

    Source: Chou, Lookabaugh & Gray (1989), equation 8, on a grid; known of video codecs as
        rate-distortion optimised quantisation. The slope is of Gish & Pierce (1968).
    """

    strength: Tensor

    def __init__(self, size: int, strength: float) -> None:
        super().__init__()
        self.register_buffer("strength", torch.tensor(strength))
        self.prior: MovingSparseFactorial = MovingSparseFactorial((), size, step=GRAIN)

    def forward(self, atoms: Tensor, values: Tensor) -> tuple[Atoms, Atoms]:
        """The code that is stored, and the same with values in units of the scale.

        Args:
            atoms: `[n, width]`.
            values: in units of the scale; their gradient passes straight through the rounding.
        """
        stored = self.round(atoms, values)
        placed = straight_through(values, self.place(stored))
        return canonical(atoms, stored), canonical(atoms, placed)

    @property
    def step(self) -> Tensor:
        """W, in units of the scale."""
        return (6 * self.strength).sqrt()

    @torch.no_grad()
    def round(self, atoms: Tensor, values: Tensor) -> Tensor:
        """The values that are stored, `[n, width]`, for values in units of the scale."""
        exact = values / self.step.to(values.dtype)
        size, above = exact.abs(), exact > 0
        log_ratio = self.prior.ratio.to(size.dtype).log()[atoms]
        q = (size + log_ratio / 12).round().clamp_min(1)
        share = self.prior.positive.to(size.dtype)[atoms]
        sign = torch.where(above, share, 1 - share).log()
        odds = torch.logit(self.prior.activation.to(size.dtype))[atoms]
        nats = -odds - torch.log1p(-log_ratio.exp()) - sign - (q - 1) * log_ratio
        worth = (size - q).square() + nats / 6 < size.square()
        return torch.where(worth & (size > 0), q * exact.sign() * GRAIN, 0.0)

    def place(self, values: Tensor) -> Tensor:
        """Values in units of the scale, from those that are stored."""
        return values * (self.step / GRAIN).to(values.dtype)

    def update(self, codes: list[Atoms]) -> None:
        """Follows the codes of one optimiser step."""
        self.prior.follow(codes)
