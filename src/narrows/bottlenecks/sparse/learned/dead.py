"""Dead atoms learn to code what the living ones leave over."""

import math
from collections.abc import Mapping

from torch import Tensor

from narrows.bottlenecks.sparse.coder import Coded, Coder, check_k
from narrows.bottlenecks.sparse.learned.untied import Around, encoded
from narrows.sparse.dead import residual_by_dead


class AuxK(Around):
    r"""The auxiliary loss for dead atoms, beside any coder that is chosen by correlation.

    .. math:: \mathcal{L}_{aux} = \|e - \hat a D\|^2, \qquad e = \tilde x - a D
        \text{ held constant}, \qquad \hat a = \mathrm{relu}(\text{the k largest } c_j
        \text{ of dead atoms})

    An atom is dead once it has lain idle for 100 times as many signals as if all atoms were used
    equally; after 1000 times `SparseDictionary` replaces it.

    Args:
        coder: what finds the codes.
        k: dead atoms of a signal; all of them where there are fewer. None for the power of two
            nearest to half the signals' width.
        weight: of this loss.

    Raises:
        TypeError: if the coder solves for its values.
        ValueError: if a number is out of range.

    Source:
        Gao et al. 2024, "Scaling and Evaluating Sparse Autoencoders", appendix A.2; squared errors
        are not divided by the signals' variance, since the running scale has done it.

    Example:
        >>> from narrows.bottlenecks import SparseDictionary, TopK, Untied
        >>> coder = AuxK(Untied(TopK(2, refit=False, nonnegative=True)))
        >>> sorted(SparseDictionary(32, 8, coder=coder)(torch.randn(4, 8)).terms)
        ['auxiliary', 'commitment', 'dictionary']
    """

    def __init__(self, coder: Coder, k: int | None = None, *, weight: float = 1 / 32) -> None:
        super().__init__(coder)
        if not coder.by_correlation:
            raise TypeError(
                f"AuxK({coder}): this coder has no correlations that dead atoms could learn by; "
                "solvers have few dead atoms, and SparseDictionary replaces them"
            )
        if k is not None:
            check_k(k)
        if not weight >= 0:
            raise ValueError(f"AuxK: expected a weight >= 0, got {weight}")
        self.k = k
        self.weights: Mapping[str, float] = {**coder.weights, "auxiliary": float(weight)}

    def terms(self, coded: Coded, /) -> Mapping[str, Tensor]:
        """What dead atoms leave of the residual."""
        terms, problem = super().terms(coded), coded.problem
        dim = problem.dictionary.shape[1]
        rows, weights = encoded(problem).compared
        loss = residual_by_dead(
            coded.residual,
            rows,
            encoder=weights,
            dictionary=problem.dictionary,
            dead=coded.dead,
            k=self.k or 2 ** round(math.log2(max(dim / 2, 1))),
        )
        return {**terms, "auxiliary": loss}
