"""LISTA: a few proximal steps with learned matrices, in place of many without."""

import torch
from torch import Tensor, nn

from narrows.sparse.fista import largest_eigenvalue
from narrows.sparse.penalty import L1


class Lista(nn.Module):
    r"""Approximates lasso codes by a fixed, small number of learned shrinkage steps.

    .. math:: z^{t+1} = \mathrm{shrink}_{\theta_t}\!\left(z^t + (x - z^t D)\, W_t^T\right)

    It starts as ISTA on the given dictionary (W = D / L, theta = lambda / L), so an untrained
    Lista of t steps equals t steps of ISTA. Train it on `objective`, which needs no labels, or
    towards the codes of an exact solver. Codes are differentiable in everything.

    Args:
        dictionary: `[K, dim]`; copied, and held fixed.
        weight: lambda of the L1 penalty.
        steps: number of layers.
        nonnegative: codes are >= 0, those of the lasso over z >= 0.

    Raises:
        ValueError: if weight is negative or steps below 1.

    Source:
        Gregor and LeCun 2010, "Learning Fast Approximations of Sparse Coding"; coupled weights
        as Chen, Liu, Wang and Yin 2018 show them necessary, here with one W a step.

    Example:
        >>> lista = Lista(torch.eye(3), weight=0.5, steps=2)
        >>> lista(torch.tensor([[2.0, -1.0, 0.1]])).detach()
        tensor([[ 1.5000, -0.5000,  0.0000]])
    """

    dictionary: Tensor

    def __init__(
        self, dictionary: Tensor, weight: float, *, steps: int = 3, nonnegative: bool = False
    ) -> None:
        super().__init__()
        if not weight >= 0 or steps < 1:
            raise ValueError(f"expected weight >= 0 and steps >= 1, got {weight} and {steps}")
        self.weight: float = float(weight)
        self.penalty: L1 = L1(weight, nonnegative=nonnegative)
        lipschitz = largest_eigenvalue(dictionary)
        self.register_buffer("dictionary", dictionary.detach().clone())
        start = (dictionary / lipschitz).detach()
        self.encoders: nn.ParameterList = nn.ParameterList(
            [nn.Parameter(start.clone()) for _ in range(steps)]
        )
        level = torch.full((len(dictionary),), self.weight / float(lipschitz)).to(dictionary)
        self.thresholds: nn.ParameterList = nn.ParameterList(
            [nn.Parameter(level.clone()) for _ in range(steps)]
        )

    def forward(self, signals: Tensor) -> Tensor:
        """Codes `[n, K]` of signals `[n, dim]`."""
        codes = signals.new_zeros(len(signals), len(self.dictionary))
        for encoder, threshold in zip(self.encoders, self.thresholds, strict=True):
            ahead = codes + (signals - codes @ self.dictionary) @ encoder.T
            codes = self.penalty.shrink(ahead, threshold.clamp_min(0))
        return codes

    def objective(self, signals: Tensor) -> Tensor:
        """1/2 |x - z D|^2 + lambda |z|_1 of the codes it gives, `[n]`; what to train on."""
        codes = self(signals)
        residual = signals - codes @ self.dictionary
        return residual.square().sum(-1) / 2 + self.weight * codes.abs().sum(-1)
