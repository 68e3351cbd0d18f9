"""What a sparse dictionary learns about its codes after each step, over all ranks."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from narrows.functional.ranks import draw_over_ranks, least_over_ranks, sum_over_ranks
from narrows.latent import Latent
from narrows.sparse.products import correlations_at

# An atom is dead when the data passed it over this many times more often than if all atoms
# were used equally.
_PATIENCE = 1000.0


def uses_over_ranks(latents: Sequence[Latent], idle: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How often each atom was used in a step, the number of signals, and their mean L0.

    Args:
        latents: of this rank; some rank has at least one.
        idle: `[K]`, for the number of atoms and the device.

    Returns:
        Counts `[K]`, signals and L0, scalars, in double precision.
    """
    sums = idle.new_zeros(len(idle) + 2, dtype=torch.float64)
    for latent in latents:
        sums[:-2] += latent.stats["atom_counts"].double()
        sums[-2] += latent.stats["l0_sum"].double()
        sums[-1] += latent.stats["coded_sites"].double()
    sum_over_ranks(sums)
    return sums[:-2], sums[-1], sums[-2] / sums[-1]


def smallest_over_ranks(smallest: Sequence[Tensor], level: Tensor) -> Tensor:
    """Mean of a rank's scalars, the least of all ranks; `level` where no rank has any."""
    mean = torch.stack(list(smallest)).mean() if smallest else level.new_tensor(math.inf)
    mean = least_over_ranks(mean)
    return torch.where(mean.isinf(), level, mean)


def smallest_kept(latent: Latent, signals: Tensor, dictionary: Tensor) -> Tensor:
    """The smallest correlation that an active atom of a batch has, by magnitude; scalar."""
    atoms, values = (part.flatten(0, -2) for part in cast(tuple[Tensor, Tensor], latent.code))
    kept = correlations_at(atoms, signals, dictionary).abs()
    return kept[values != 0].min().double()


def dead(idle: Tensor, l0: Tensor) -> Tensor:
    """Which atoms were passed over so often that they may be replaced, bool `[K]`.

    Args:
        idle: signals coded since each atom was last used, `[K]`.
        l0: mean number of active atoms.
    """
    return idle > _PATIENCE * len(idle) / l0.clamp_min(1e-6)


def draw_coded(
    latents: Sequence[Latent], number: int, seed: int, like: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Draws coded signals of all ranks, none twice, the same on every rank.

    Args:
        latents: of this rank; may be none.
        number: how many to draw; fewer come where there are fewer.
        seed: of the draw.
        like: no rows of features `[0, dim]`, atoms and values `[0, width]`, for a rank without.

    Returns:
        Features `[m, dim]` with their atoms and values `[m, width]`.
    """
    parts = [(latent.features, *cast(tuple[Tensor, Tensor], latent.code)) for latent in latents]
    drawn = []
    for place, none in enumerate(like):
        rows = [part[place].reshape(-1, none.shape[1]) for part in parts]
        pool = rows[0] if len(rows) == 1 else torch.cat([none, *rows])
        # From the same state each time, so that the three belong together.
        generator = torch.Generator().manual_seed(seed)
        drawn.append(draw_over_ranks(pool, number, generator, repeat=False))
    return drawn[0], drawn[1], drawn[2]
