"""A softmax over the nearest atoms of a dictionary: a soft vector quantiser."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from narrows.bottlenecks.base import Bottleneck, Gradient
from narrows.bottlenecks.sparse.checks import code_measures, code_stats
from narrows.codes import Atoms, AtomValues, Code
from narrows.functional.straight_through import straight_through
from narrows.latent import Latent
from narrows.modes import without_autocast
from narrows.sparse.products import combine
from narrows.sparse.solution import canonical, check_count

if TYPE_CHECKING:
    from narrows.priors.base import Prior


class SoftmaxDictionary(Bottleneck):
    r"""Codes each site as a weighted mean of its k nearest atoms.

    .. math:: S = \{k \text{ nearest of } d_1 \dots d_K \text{ to } x\}, \qquad
        w_S = \mathrm{softmax}\big((W x + b)_S\big), \qquad z = \sum_{j \in S} w_j d_j

    This is the dictionary of a public VQ-VAE notebook, repaired. There the decoder received
    2 z - x, from which the features themselves can be read off; the softmax ran over all K
    atoms before the mask, so that what was left of it shrank z; and an L1 penalty was put on
    weights whose sum is constant, which penalises nothing. Here the decoder sees z alone, the
    softmax runs over the support, and sparsity is k. Weights are positive and sum to 1: z lies
    in the convex hull of the atoms, so the code stays nearer to VQ (k = 1) than to sparse
    coding, and `SparseDictionary` fits better at equal k.

    The code is `(atoms, weights)`, each `[batch, *sites, k]`, atoms ascending.

    Args:
        size: number of atoms K.
        dim: width of the features.
        k: atoms of each site.
        commitment: weight of the features' distance to their code.

    Raises:
        ValueError: if an argument is out of range.

    Source:
        The notebook "VQ-VAE by Aaron van den Oord et al. in PyTorch" with a dictionary-learning
        layer (2023), class DictionaryLearning; repaired as above.

    Example:
        >>> bottleneck = SoftmaxDictionary(size=64, dim=8, k=5)
        >>> bottleneck(torch.randn(2, 3, 3, 8)).z.shape
        torch.Size([2, 3, 3, 8])
    """

    gradient: Gradient = "straight_through"

    def __init__(self, size: int, dim: int, *, k: int, commitment: float = 0.25) -> None:
        super().__init__(in_features=dim, out_features=dim)
        check_count(k, size)
        if not commitment >= 0:
            raise ValueError(f"expected commitment >= 0, got {commitment}")
        self.size = size
        self.k = k
        self.commitment: float = float(commitment)
        self.dictionary: nn.Parameter = nn.Parameter(torch.randn(size, dim))
        self.logits: nn.Linear = nn.Linear(dim, size)

    @property
    def weights(self) -> Mapping[str, float]:
        """The dictionary's own loss, and commitment."""
        return {"dictionary": 1.0, "commitment": self.commitment}

    @property
    def codes(self) -> AtomValues:
        """k atoms with their weights."""
        return AtomValues(self.size, self.k)

    def forward(self, features: Tensor) -> Latent:
        """Codes features; see the class."""
        features = self._check(features)
        with without_autocast(features.device):
            return self._forward(features)

    def _forward(self, features: Tensor) -> Latent:
        signals = features.reshape(-1, self.in_features)
        dictionary = self.dictionary.to(features.dtype)
        atoms = self._nearest(signals.detach(), dictionary.detach())
        logits = nn.functional.linear(
            signals, self.logits.weight.to(features.dtype), self.logits.bias.to(features.dtype)
        )
        weights = logits.gather(1, atoms).softmax(-1)
        mean = combine(atoms, weights, dictionary=dictionary)
        code_shape = (*features.shape[:-1], self.k)
        z = straight_through(features, mean.detach().view(features.shape))
        return Latent(
            z=z,
            code=Atoms(atoms.view(code_shape), weights.detach().view(code_shape)),
            features=features.detach(),
            terms={
                "dictionary": self._distance(signals.detach(), mean, features.shape[0]),
                "commitment": self._distance(signals, mean.detach(), features.shape[0]),
            },
            stats=self._stats(signals, mean, atoms),
        )

    def embed(self, code: Code) -> Tensor:
        """The decoder's input for atoms and weights `[batch, *sites, k]`."""
        atoms, weights = self.codes.check(code)
        width = atoms.shape[-1]
        with without_autocast(weights.device):
            dictionary = self.dictionary.to(weights.dtype)
            mean = combine(
                atoms.reshape(-1, width), weights.reshape(-1, width), dictionary=dictionary
            )
        return mean.view(*atoms.shape[:-1], self.out_features)

    def default_prior(self, sites: tuple[int, ...]) -> "Prior":
        """Factorial; the weights are of order 1/k, and rounded to a quarter of that."""
        from narrows.priors.sparse.factorial import SparseFactorial

        return SparseFactorial(sites, size=self.size, step=1 / (4 * self.k), l0=float(self.k))

    def _nearest(self, signals: Tensor, dictionary: Tensor) -> Tensor:
        # |x - d|^2 less |x|^2, which is the same for all atoms.
        distances = dictionary.square().sum(-1) - 2 * signals @ dictionary.T
        atoms = distances.topk(self.k, dim=-1, largest=False, sorted=False).indices
        return canonical(atoms, torch.ones_like(atoms, dtype=signals.dtype))[0]

    def _distance(self, a: Tensor, b: Tensor, batch: int) -> Tensor:
        if batch == 0:
            return a.new_zeros(0)
        return (a - b).square().sum(-1).view(batch, -1).sum(-1)

    def _stats(self, signals: Tensor, mean: Tensor, atoms: Tensor) -> dict[str, Tensor]:
        return {
            **code_stats(atoms, signals.new_ones(atoms.shape), self.size),
            "residual_sum": (signals - mean).detach().square().sum(),
            "energy_sum": signals.detach().square().sum(),
        }

    def summary(self, totals: Mapping[str, Tensor], _examples: int, /) -> dict[str, float]:
        """Active atoms a site, share and number of atoms used, and fit of the features."""
        return code_measures(totals, self.size)

    def advice(self, summary: Mapping[str, float]) -> list[str]:
        """What to try where atoms lie idle."""
        if summary["atoms_used"] >= 0.5:
            return []
        return [
            f"only {summary['atoms_used']:.0%} of {self.size} atoms are ever among the {self.k} "
            "nearest: use fewer atoms, a larger k, or SparseDictionary, which revives dead atoms"
        ]
