"""Nested dictionaries: the first atoms alone must do, too."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from narrows.bottlenecks.sparse.coder import Coded, Coder
from narrows.bottlenecks.sparse.learned.untied import Around
from narrows.sparse.products import combine


class Matryoshka(Around):
    r"""A code whose first atoms reconstruct the signal by themselves as well as they can.

    .. math:: \mathcal{L} = \sum_{m \in M} \|\tilde x - a_{1..m} D_{1..m}\|^2, \qquad K \in M

    Early atoms become the general ones, which keeps them from being split up among later ones.

    Args:
        coder: what finds the codes.
        prefixes: the numbers m < K, ascending.

    Raises:
        ValueError: if prefixes do not ascend, or reach K.

    Source:
        Bussmann, Nabeshima, Karvonen and Nanda 2025, "Learning Multi-Level Features with Matryoshka
        Sparse Autoencoders", equation 4, there around `BatchTopK`.

    Example:
        >>> from narrows.bottlenecks import SparseDictionary, TopK
        >>> coder = Matryoshka(TopK(2), prefixes=(4, 12))
        >>> sorted(SparseDictionary(32, 8, coder=coder)(torch.randn(4, 8)).terms)
        ['commitment', 'dictionary', 'prefixes']
    """

    def __init__(self, coder: Coder, prefixes: Sequence[int]) -> None:
        super().__init__(coder)
        self.prefixes: tuple[int, ...] = tuple(prefixes)
        ascending = [*sorted(set(self.prefixes))]
        if not ascending or ascending != [*self.prefixes] or ascending[0] < 1:
            raise ValueError(
                f"Matryoshka: expected ascending numbers of atoms such as (64, 256), got {prefixes}"
            )
        self.weights: Mapping[str, float] = {**coder.weights, "prefixes": 1.0}

    def width(self, size: int, dim: int) -> int:
        """That of the coder inside."""
        if self.prefixes[-1] >= size:
            raise ValueError(
                f"Matryoshka: prefixes {self.prefixes} must be smaller than the dictionary of "
                f"{size} atoms, which counts anyway"
            )
        return super().width(size, dim)

    def terms(self, coded: Coded, /) -> Mapping[str, Tensor]:
        """Squared distances that the prefixes leave, summed over them."""
        problem, (atoms, values) = coded.problem, coded.code
        total = values.new_zeros(values.shape[0])
        for m in self.prefixes:
            part = combine(atoms, values * (atoms < m), dictionary=problem.dictionary)
            total = total + (problem.wanted - part).square().sum(1)
        return {**super().terms(coded), "prefixes": total}
