"""The dictionary layer of a public VQ-VAE notebook, as written."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from narrows.bottlenecks.base import Bottleneck
from narrows.codes import Atoms, AtomValues, Code
from narrows.latent import Latent
from narrows.sparse.solution import canonical, check_count

if TYPE_CHECKING:
    from narrows.priors.base import Prior


class NotebookDictionaryAsWritten(Bottleneck):
    r"""A softmax over K atoms, masked to the k nearest, and the features besides; faults kept.

    .. math:: r = \mathrm{softmax}(W x + b) \odot 1[\text{k nearest}], \qquad
        q = \mathrm{scramble}(r D), \qquad z = q + \mathrm{sg}(q - x)

    Its faults, each repaired in `SoftmaxDictionary`:

    1. z = 2 q - x: the decoder gets the dense features themselves, so its error says nothing
       of the code. `embed(code)` is q, all that the code holds, and differs from z.
    2. The straight-through term has its parts exchanged: x gets no gradient from the decoder
       but through the softmax.
    3. r D is laid out channels last and read channels first: q is scrambled.
    4. The L1 penalty is on a softmax, whose sum is 1 before the mask; its weight is 0 besides.
    5. The softmax runs over all K atoms before the mask, so that what is left does not sum to 1.
    6. Which atoms are active is decided by distance, their weights by an unrelated linear map;
       "sparsity level 0.1953" is k / K, whatever is learned.

    The notebook's distance multiplies `[n, D]` by `[K, D]`, which cannot run for K != D; it is
    transposed here.

    Args:
        size: number of atoms K.
        dim: width of the features.
        k: atoms kept.
        weight: of the squared distance of q to the features; the features' own distance to q
            has a quarter of it. 0.01187 is the notebook's 1 for sums and -log p of variance 1/2:
            3072 x 0.0633 / 16384 on CIFAR-10.
        sparsity: weight of the sum of |r|.

    Raises:
        ValueError: if k is not in 1..K, or a weight is negative.

    Source:
        The notebook "VQ-VAE by Aaron van den Oord et al. in PyTorch" with a dictionary-learning
        layer (2023), class DictionaryLearning.

    Example:
        >>> bottleneck = NotebookDictionaryAsWritten(size=16, dim=4, k=3)
        >>> latent = bottleneck(torch.randn(2, 3, 3, 4))
        >>> bool(torch.allclose(bottleneck.embed(latent.code), latent.z))
        False
    """

    gradient = "estimated"
    per_site = False  # scrambled, a site gets what was computed at others

    def __init__(
        self,
        size: int = 512,
        dim: int = 256,
        k: int = 100,
        weight: float = 0.01187,
        sparsity: float = 0.0,
    ) -> None:
        super().__init__(dim, dim)
        check_count(k, size)
        if min(weight, sparsity) < 0:
            raise ValueError(f"expected weights >= 0, got {weight} and sparsity={sparsity}")
        self.size = size
        self.k = k
        self._weights = {"dictionary": weight, "commitment": weight / 4, "sparsity": sparsity}
        self.dictionary = nn.Parameter(torch.rand(size, dim))
        self.logits = nn.Linear(dim, size)

    @property
    def weights(self) -> Mapping[str, float]:
        """The dictionary's distance, a quarter of it as commitment, and the L1 norm."""
        return self._weights

    @property
    def codes(self) -> AtomValues:
        """k atoms with their masked weights."""
        return AtomValues(self.size, self.k)

    def forward(self, features: Tensor) -> Latent:
        """Codes features `[batch, height, width, dim]`; see the class."""
        features = self._check(features)
        with torch.autocast(features.device.type, enabled=False):
            return self._forward(features)

    def _forward(self, features: Tensor) -> Latent:
        signals, dictionary = features.flatten(0, -2), self.dictionary.to(features.dtype)
        atoms, kept = self._represent(signals, dictionary)
        dense = signals.new_zeros(len(signals), self.size).scatter(1, atoms, kept)
        total = dense @ dictionary
        q = _scramble(total, features.shape)
        shape = (*features.shape[:-1], self.k)
        return Latent(
            z=q + (q - features).detach(),  # q - x where x - q was meant
            code=Atoms(atoms.view(shape), kept.detach().view(shape)),
            features=features.detach(),
            terms={
                "dictionary": (features.detach() - q).square().flatten(1).sum(1),
                "commitment": (features - q.detach()).square().flatten(1).sum(1),
                "sparsity": kept.view(shape).flatten(1).sum(1),
            },
            stats={
                "atom_counts": (dense.detach() != 0).sum(0).to(features.dtype),
                "l0_sum": (kept.detach() != 0).sum().to(features.dtype),
                "coded_sites": features.new_tensor(float(len(signals))),
                "residual_sum": (signals - total).detach().square().sum(),
                "scrambled_sum": (features - q).detach().square().sum(),
                "energy_sum": signals.detach().square().sum(),
            },
        )

    def _represent(self, signals: Tensor, dictionary: Tensor) -> tuple[Tensor, Tensor]:
        """Atoms and their masked softmax weights, `[n, k]`."""
        weight, bias = (p.to(signals.dtype) for p in (self.logits.weight, self.logits.bias))
        softmax = nn.functional.linear(signals, weight, bias).softmax(-1)
        with torch.no_grad():
            distances = dictionary.square().sum(-1) - 2 * signals @ dictionary.T
            nearest = distances.topk(self.k, dim=-1, largest=False, sorted=False).indices
            atoms = canonical(nearest, torch.ones_like(nearest, dtype=signals.dtype))[0]
        return atoms, softmax.gather(1, atoms)

    def embed(self, code: Code) -> Tensor:
        """q, which is all that the code holds; the decoder was trained on 2 q - x."""
        atoms, kept = self.codes.check(code)
        flat = atoms.flatten(0, -2), kept.flatten(0, -2)
        dense = kept.new_zeros(len(flat[0]), self.size).scatter(1, *flat)
        shape = torch.Size((*atoms.shape[:-1], self.out_features))
        return _scramble(dense @ self.dictionary.to(kept.dtype), shape)

    def default_prior(self, sites: tuple[int, ...]) -> "Prior":
        """Factorial, for weights of order 1 / K."""
        from narrows.priors.sparse.factorial import SparseFactorial

        return SparseFactorial(sites, size=self.size, step=1 / (4 * self.size), l0=float(self.k))

    def summary(self, totals: Mapping[str, Tensor], examples: int) -> dict[str, float]:
        """Active atoms a site, their share (the notebook's sparsity level), and the fit."""
        del examples
        energy = max(float(totals["energy_sum"]), torch.finfo(torch.float64).tiny)
        l0 = float(totals["l0_sum"]) / max(float(totals["coded_sites"]), 1.0)
        return {
            "l0": l0,
            "sparsity_level": l0 / self.size,
            "atoms_used": float((totals["atom_counts"] > 0).double().mean()),
            "feature_nmse": float(totals["residual_sum"]) / energy,
            "quantization_nmse": float(totals["scrambled_sum"]) / energy,
        }


def _scramble(total: Tensor, shape: torch.Size) -> Tensor:
    """Reads rows laid out site by site as if they were laid out channel by channel."""
    return total.reshape(shape[0], shape[-1], *shape[1:-1]).movedim(1, -1)
