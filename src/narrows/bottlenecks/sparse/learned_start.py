"""A guess of each lasso code, learned along with the dictionary, that its solver starts from."""

import torch
from torch import Tensor, nn

from narrows.recorded import Recorded
from narrows.sparse.top_k import strongest

# Many atoms that resemble each other share what their correlations count once for each.
_GAIN = 0.1


class LearnedStart(Recorded):
    r"""Lets a `Lasso` start from the guess of one learned shrinkage layer, in training.

    .. math:: \hat z = \lambda\, \gamma\, \mathrm{shrink}_\theta\!\left((D + E)\, x / \lambda\right)

    Dividing by each signal's own lambda makes its problem the one of lambda = 1, whatever the
    controller does. The `width` largest entries are where the solver starts; it still goes on
    until its duality gap is small, so codes are the same within its tolerance, with or without.

    E, theta and gamma are parameters of the bottleneck and learn from the term `start` of its
    latents: the squared distance of the guess to the code then found, in units of lambda, mean
    over some sites of each example. Neither features nor dictionary get a gradient from it.
    Outside training there is no start, and the term is 0.

    On a CPU it costs more than it saves: the compiled solver needs a few rounds only
    (docs/results/sparse.md).

    Args:
        width: most entries of a guess. Those that are wrong cost more than those that lack.
        sites: how many sites of each example it learns from in a step.

    Raises:
        ValueError: if a number is below 1.

    Source:
        Gregor and LeCun 2010, "Learning Fast Approximations of Sparse Coding"; here one layer,
        as an offset from the dictionary, which moves, and only to start from.

    Example:
        >>> from narrows.bottlenecks import Lasso, SparseDictionary
        >>> code = Lasso(0.3, start=LearnedStart())
        >>> sorted(SparseDictionary(32, 8, code)(torch.randn(4, 6, 8)).terms)
        ['commitment', 'dictionary', 'start']
    """

    def __init__(self, width: int = 6, sites: int = 8) -> None:
        if width < 1 or sites < 1:
            raise ValueError(f"expected width and sites >= 1, got {width} and {sites}")
        self.width = width
        self.sites = sites


class StartEncoder(nn.Module):
    """The parameters E, theta and gamma of a `LearnedStart`.

    Args:
        start: its description.
        size: number of atoms K.
        dim: width of a signal.
        nonnegative: whether codes are.
    """

    def __init__(self, start: LearnedStart, size: int, dim: int, nonnegative: bool) -> None:
        super().__init__()
        self.width = min(start.width, size)
        self.sites = start.sites
        self.nonnegative = nonnegative
        self.offset = nn.Parameter(torch.zeros(size, dim))
        self.thresholds = nn.Parameter(torch.ones(size))
        self.gains = nn.Parameter(torch.full((size,), _GAIN))

    def forward(self, signals: Tensor, dictionary: Tensor) -> Tensor:
        """The guess `[n, K]` for signals `[n, dim]` in units of their lambda."""
        ahead = signals @ (dictionary + self.offset.to(dictionary.dtype)).T
        guess = self._shrink(ahead, self.thresholds.to(ahead.dtype))
        return self._allowed(guess * self.gains.to(ahead.dtype))

    @torch.no_grad()
    def propose(
        self, signals: Tensor, dictionary: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Atoms and values `[n, width]` to start from, for lambda given as weights `[n]`."""
        encoder = dictionary + self.offset.to(dictionary.dtype)
        atoms, ahead = strongest(signals, encoder, self.width, nonnegative=self.nonnegative)
        limits = self.thresholds.to(ahead.dtype)[atoms] * weights[:, None]
        guess = self._shrink(ahead, limits) * self.gains.to(ahead.dtype)[atoms]
        return atoms, self._allowed(guess.nan_to_num(0.0, 0.0, 0.0))

    def places(self, number: int, step: Tensor) -> Tensor:
        """Which of so many sites it learns from in a step, int64: each time others."""
        most = min(self.sites, number)
        spread = torch.arange(most, device=step.device) * number // most
        return (spread + step).remainder(number)

    def loss(
        self,
        signals: Tensor,
        dictionary: Tensor,
        weights: Tensor,
        code: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Squared distance of the guess to the code, in units of lambda; `[n]`.

        Args:
            signals: `[n, dim]`.
            dictionary: `[K, dim]`.
            weights: lambda of each signal `[n]`; 0 only where the signal is.
            code: atoms and values `[n, any]` that the guess should have been.
        """
        atoms, values = code
        units = torch.where(weights > 0, weights, torch.ones_like(weights))[:, None].detach()
        guess = self(signals.detach() / units, dictionary.detach())
        target = torch.zeros_like(guess).scatter_add(1, atoms, values.detach() / units)
        return (guess - target).square().sum(-1)

    @torch.no_grad()
    def forget(self, atoms: Tensor) -> None:
        """Starts afresh for atoms `[m]` that have been replaced."""
        self.offset[atoms] = 0
        self.thresholds[atoms] = 1
        self.gains[atoms] = _GAIN

    def _shrink(self, ahead: Tensor, limits: Tensor) -> Tensor:
        return ahead - ahead.clamp(-limits.clamp_min(0), limits.clamp_min(0))

    def _allowed(self, guess: Tensor) -> Tensor:
        return guess.clamp_min(0) if self.nonnegative else guess
