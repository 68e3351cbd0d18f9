"""VQBridge: a fixed random codebook seen through a learned map and a small transformer."""

from typing import Literal

import torch
from torch import Tensor, nn

from narrows.bottlenecks.quantizers.codebook import check_arguments
from narrows.bottlenecks.quantizers.simvq import SimVQ
from narrows.modes import without_autocast
from narrows.networks.transformer import Block

HEADS = 4
DEPTH = 2


class VQBridge(SimVQ):
    """`SimVQ` with C = (B + g(B)) W + b, where g mixes all codewords.

    g compresses each `patch` codewords into one token, processes the K / patch tokens by two
    transformer blocks, and recovers codewords from them. So a gradient to any used code moves all
    of them, and not only by one linear map. After training C is a plain codebook.

    Args:
        size: number K of codes, a multiple of `patch`.
        dim: width of the features.
        patch: codewords of a token; attention costs (K / patch)^2.
        hidden: width of a token, a multiple of 4.
        commitment: beta.
        estimator: how the gradient passes: "straight_through" or "rotation".
        entropy_constraint: lambda, as of `CodebookLearning`; None takes the nearest code.

    Raises:
        ValueError: if an argument is out of range.

    Source: Chang et al. 2025, "Scalable Training for Vector-Quantized Networks with 100% Codebook
        Utilization", the VQBridge of two ViT blocks. They train B too, and C = g(B) begins at 0;
        here g begins at 0 and C at B.

    Example:
        >>> quantizer = VQBridge(size=4096, dim=8)
        >>> quantizer(torch.randn(2, 8, 8, 8)).code.shape
        torch.Size([2, 8, 8])
    """

    def __init__(
        self,
        size: int,
        dim: int,
        *,
        patch: int = 64,
        hidden: int = 64,
        commitment: float = 0.25,
        estimator: Literal["straight_through", "rotation"] = "straight_through",
        entropy_constraint: float | None = None,
    ) -> None:
        super().__init__(
            size,
            dim,
            commitment=commitment,
            estimator=estimator,
            entropy_constraint=entropy_constraint,
        )
        check_arguments(
            self,
            patch=(patch, patch >= 1 and size % patch == 0, f"to divide size={size}"),
            hidden=(hidden, hidden >= HEADS and hidden % HEADS == 0, f"a multiple of {HEADS}"),
        )
        self.patch: int = patch
        self.bridge: nn.Sequential = nn.Sequential(
            nn.Linear(patch * dim, hidden),
            *(Block(hidden, HEADS) for _ in range(DEPTH)),
            nn.LayerNorm(hidden),
            nn.Linear(hidden, patch * dim),
        )
        for parameter in self.bridge[-1].parameters():
            nn.init.zeros_(parameter)

    @property
    def codewords(self) -> Tensor:
        """C, `[size, dim]`, in float32 or better."""
        with without_autocast(self.base.device):
            tokens = self.base.view(1, self.size // self.patch, -1)
            moved = self.base + self.bridge(tokens).view_as(self.base)
            return torch.addmm(self.offset, moved, self.linear)
