"""The loss by which dead atoms come back to life."""

import torch
from torch import Tensor

from narrows.sparse.activations import first_of_each
from narrows.sparse.products import combine, correlations_at
from narrows.sparse.top_k import strongest


def residual_by_dead(
    residual: Tensor, rows: Tensor, *, encoder: Tensor, dictionary: Tensor, dead: Tensor, k: int
) -> Tensor:
    r"""|e - a D|^2 for codes a of dead atoms alone: the k largest positive products.

    Three mistakes are known of it: a bias of the decoder that a D gets once more, though e has
    none; a gradient to e, which teaches the living atoms to leave what the dead can code; and
    the k of the code in place of one of its own. Here e is a constant without any bias.

    Args:
        residual: e, `[n, dim]`; its gradient is not asked for.
        rows: what the encoder is applied to, `[n, m]`.
        encoder: `[K, m]`.
        dictionary: `[K, dim]`.
        dead: which atoms may be used, bool `[K]`.
        k: how many of them for a signal; all where there are fewer.

    Returns:
        `[n]`; 0 where no atom is dead.

    Source: Gao et al. 2024, "Scaling and Evaluating Sparse Autoencoders", appendix A.2.
    """
    if torch.compiler.is_compiling():  # a number of dead atoms has no graph: all, living ones as 0
        encoder = encoder * dead[:, None]
    else:
        places = dead.nonzero()[:, 0]
        if not len(places):
            return residual.new_zeros(len(residual))
        encoder, dictionary = encoder[places], dictionary[places]
    atoms, _ = strongest(rows, encoder.detach(), min(k, len(encoder)), nonnegative=True)
    values = correlations_at(atoms, rows, encoder).relu() * first_of_each(atoms)
    found = combine(atoms, values, dictionary=dictionary)
    return (residual.detach() - found).square().sum(1) * dead.any()
