"""The sparse VAE of a student report, as its code ran."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from narrows.bottlenecks.base import Bottleneck
from narrows.codes import Atoms, AtomValues, Code
from narrows.latent import Latent
from narrows.sparse.solution import canonical
from reproductions.sparse_vae_report.as_written.backtracking import backtracking_fista

if TYPE_CHECKING:
    from narrows.priors.base import Prior

# What the report counts as active.
_ACTIVE = 1e-6


class AthaydeSparse(Bottleneck):
    r"""One lasso code an image over atoms that are never normalised; faults kept.

    .. math:: z = \arg\min_z \tfrac12 |x - z D|^2 + \lambda |z|_1, \qquad
        D \sim \mathcal N(0, 1)^{K \times HWC}, \quad \lambda = 1

    Its faults, each repaired in `SparseDictionary(layout="image")`:

    1. One code covers the whole image: 512 atoms for 16,384 features, 32 times too few to be
       a sparse dictionary of them.
    2. lambda stays 1 while atoms have norm 128, that is lambda = 0.002 lambda_max: nearly
       every atom is active.
    3. Atoms are never normalised, so a larger D would undo any lambda.
    4. Features are flattened channels last, what the atoms add up to is read channels first:
       the decoder and the commitment loss get it scrambled.
    5. "Straight through" means the gradient D^T D g, thousands of times g, not g.
    6. The loop for Mairal's beta* takes the columns of the examples for those of the atoms, and
       inverts K matrices a step. It can take no batch larger than K.
    7. Step sizes start at 1e-3 in each of ten iterations, are found by trial (the step that
       fits is 4e-5), and like the stop are chosen for the whole batch: a code depends on
       its company.

    Not kept: examples in fixed order, and a sampler that draws atoms below the feature width.
    `StepsTwice` is the training loop's own fault.

    Args:
        size: number of atoms K.
        shape: `(height, width, channels)` of the features.
        weight: lambda.
        commitment: weight of the squared distance of the features to the scrambled sum. The
            report's loss is a mean over pixels in (-1, 1) plus a mean over features; 0.046875 is
            3072 / (4 x 16384), its beta of 1 for sums and images in (0, 1).
        prior: weight of |z_q|^2 / 2, the report's term for p(z_q); it does not state it.

    Raises:
        ValueError: if a size is below 1 or a weight negative.

    Source:
        Athayde 2022, "Sparse VAE: Comparison of VQ-VAE to a VAE with a Task Driven Sparse
        Embedding", and its public code; written anew from a description of what that does.

    Example:
        >>> bottleneck = AthaydeSparse(size=8, shape=(2, 2, 4))
        >>> bottleneck(torch.randn(3, 2, 2, 4)).code[1].shape
        torch.Size([3, 8])
    """

    gradient = "estimated"
    per_site = False

    def __init__(
        self,
        size: int = 512,
        shape: Sequence[int] = (8, 8, 256),
        weight: float = 1.0,
        commitment: float = 0.046875,
        prior: float = 0.0,
    ) -> None:
        super().__init__(shape[-1], shape[-1])
        if size < 1 or len(shape) != 3 or min(shape) < 1:
            raise ValueError(
                f"expected size >= 1 and a shape (height, width, channels), got {size}, {shape}"
            )
        if min(weight, commitment, prior) < 0:
            raise ValueError(
                f"expected weights >= 0, got {weight}, commitment={commitment}, prior={prior}"
            )
        self.size = size
        self.shape = tuple(shape)
        self.weight = float(weight)
        self._weights = {"commitment": float(commitment), "prior": float(prior)}
        self.dictionary = nn.Parameter(torch.randn(size, math.prod(shape)))

    @property
    def weights(self) -> Mapping[str, float]:
        """Commitment and the normal prior on z."""
        return self._weights

    @property
    def codes(self) -> AtomValues:
        """Up to all atoms with their coefficients, one code an image."""
        return AtomValues(self.size, self.size, whole=True)

    def forward(self, features: Tensor) -> Latent:
        """Codes features `[batch, *shape]`.

        Raises:
            ValueError: for features of another shape.
        """
        features = self._check(features)
        if tuple(features.shape[1:]) != self.shape:
            raise ValueError(
                f"AthaydeSparse: expected features [batch, {', '.join(map(str, self.shape))}], "
                f"got {tuple(features.shape)}"
            )
        with torch.autocast(features.device.type, enabled=False):
            return self._forward(features)

    def _forward(self, features: Tensor) -> Latent:
        signals, dictionary = features.flatten(1), self.dictionary.to(features.dtype)
        parts = (signals, dictionary, self.weight)
        codes: Tensor = _AsWritten.apply(*parts)  # pyright: ignore[reportAssignmentType]
        total = codes @ dictionary
        z = self._scramble(total)
        distance = (features - z.detach()).square().flatten(1).sum(1)
        return Latent(
            z=z,
            code=_pairs(codes.detach()),
            features=features.detach(),
            terms={"commitment": distance, "prior": z.square().flatten(1).sum(1) / 2},
            stats=_stats(codes.detach(), signals.detach(), total.detach(), distance.detach()),
        )

    def _scramble(self, total: Tensor) -> Tensor:
        """Reads what was laid out channels last as if it were channels first (fault 4)."""
        height, width, channels = self.shape
        return total.view(-1, channels, height, width).movedim(1, -1)

    def embed(self, code: Code) -> Tensor:
        """The decoder's input, scrambled as in `forward`, for atoms and values `[batch, K]`."""
        dense = self.codes.check(code).coefficients(self.size)
        return self._scramble(dense @ self.dictionary.to(dense.dtype))

    def default_prior(self, sites: tuple[int, ...]) -> "Prior":
        """Factorial, with all atoms active to begin with, as they are."""
        from narrows.priors.sparse.factorial import SparseFactorial

        del sites
        return SparseFactorial((), size=self.size, l0=float(self.size), step=0.01)

    def summary(self, totals: Mapping[str, Tensor], examples: int) -> dict[str, float]:
        """Active atoms an image, and what is left of the features.

        `feature_nmse` is what the lasso leaves; `quantization_nmse` what the scrambled sum is
        off by, the report's "quantisation loss" over the features' energy.
        """
        energy = max(float(totals["energy_sum"]), torch.finfo(torch.float64).tiny)
        unused = int((totals["atom_counts"] == 0).sum())
        return {
            "l0": float(totals["l0_sum"]) / max(examples, 1),
            "atoms_used": 1 - unused / self.size,
            "feature_nmse": float(totals["residual_sum"]) / energy,
            "quantization_nmse": float(totals["scrambled_sum"]) / energy,
        }


def _pairs(codes: Tensor) -> Atoms:
    atoms = torch.arange(codes.shape[1], device=codes.device).expand_as(codes)
    return canonical(atoms, codes)


def _stats(codes: Tensor, signals: Tensor, total: Tensor, distance: Tensor) -> dict[str, Tensor]:
    active = codes.abs() > _ACTIVE
    return {
        "atom_counts": active.sum(0).to(codes.dtype),
        "l0_sum": active.sum().to(codes.dtype),
        "residual_sum": (signals - total).square().sum(),
        "scrambled_sum": distance.sum(),
        "energy_sum": signals.square().sum(),
    }


def misindexed_betas(dictionary: Tensor, codes: Tensor, gradient: Tensor) -> Tensor:
    """The beta* of the report's code, `[batch, K]`: right formula, wrong axis (fault 6).

    For atom j it takes the examples that use j, and the *atoms with those examples' numbers*.
    `narrows.sparse.differentiate` has beta* = (D_S D_S^T)^-1 g for the support S of an example.

    Args:
        dictionary: `[K, dim]`.
        codes: `[batch, K]`, batch <= K.
        gradient: of the loss to the codes, `[batch, K]`.
    """
    betas = torch.zeros_like(codes)
    for atom in range(codes.shape[1]):
        users = codes[:, atom].nonzero()[:, 0]
        taken = dictionary[users]
        gram = taken @ taken.T + 0.1 * torch.eye(len(users), dtype=codes.dtype, device=codes.device)
        betas[users, atom] = torch.linalg.inv(gram) @ gradient[users, atom]
    return betas


class _AsWritten(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, signals: Tensor, dictionary: Tensor, weight: float) -> Tensor:
        codes = backtracking_fista(signals, dictionary, weight)
        ctx.save_for_backward(signals, dictionary, codes)
        return codes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        signals, dictionary, codes = ctx.saved_tensors
        if len(codes) > len(dictionary):
            raise ValueError(
                f"AthaydeSparse: its gradient numbers atoms by examples, so a batch may hold at "
                f"most {len(dictionary)}, got {len(codes)}"
            )
        betas = misindexed_betas(dictionary, codes, gradients[0])
        residual = signals - codes @ dictionary
        for_dictionary = betas.T @ residual - codes.T @ (betas @ dictionary)
        return gradients[0] @ dictionary, for_dictionary, None
