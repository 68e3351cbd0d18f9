"""Codes as names of items: are they unique, are all levels in use, do neighbours share prefixes?"""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from narrows.functional.usage import tally, usage

_CHUNK = 1 << 24  # distances held at a time
_QUERIES = 2000  # items whose neighbours are looked for


@dataclass(frozen=True)
class Level:
    """One level of the identifiers of a set.

    Attributes:
        usage: share of its codewords that are in use.
        entropy_bits: of its codewords, at most log2 of their number.
        prefixes: number of different prefixes that end with it.
        purity: share of an item's nearest neighbours that have the same prefix; None without
            vectors.
        chance: share of all other items that have the same prefix: the purity of codes that know
            nothing of the vectors.
    """

    usage: float
    entropy_bits: float
    prefixes: int
    purity: float | None
    chance: float


@dataclass(frozen=True)
class Identifiers:
    """What `identifiers` found.

    Attributes:
        items: number n.
        uniqueness: number of different identifiers over n.
        alone: share of items that no other shares its identifier with.
        largest: most items with one identifier.
        levels: from the first to the last.
    """

    items: int
    uniqueness: float
    alone: float
    largest: int
    levels: tuple[Level, ...]

    def figures(self) -> dict[str, object]:
        """As plain numbers, for a file."""
        return asdict(self)


@torch.no_grad()
def identifiers(
    code: Tensor, *, size: int, vectors: Tensor | None = None, neighbours: int = 10, seed: int = 0
) -> Identifiers:
    """Measures codes `[n, levels]` as semantic identifiers of n items.

    With prefix p_l(i) of the first l indices of item i, and N(i) its nearest neighbours,

        purity_l = mean over i of |{j in N(i): p_l(j) = p_l(i)}| / |N(i)|,
        chance_l = mean over i of |{j != i: p_l(j) = p_l(i)}| / (n - 1).

    High purity over chance at the first levels is what makes the identifiers semantic; low purity
    at the last is what makes them unique.

    Args:
        code: integers, `[n, levels]`.
        size: number of codewords of each level.
        vectors: what the items are like, `[n, d]`; neighbours by Euclidean distance.
        neighbours: of each item.
        seed: of the 2,000 items whose neighbours are looked for where there are more.

    Raises:
        ValueError: if there are fewer than two items, an index out of range, or not one vector for
            each item.

    Source: purpose and uniqueness, Rajput et al. (2023), "Recommender systems with generative
        retrieval", section 3.1, which breaks ties by one more index. Purity over prefixes is ours.

    Example:
        >>> code = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 0]])
        >>> found = identifiers(code, size=2)
        >>> found.uniqueness, found.alone, found.largest
        (0.75, 0.5, 2)
    """
    _check(code, size, vectors)
    n = len(code)
    near = None if vectors is None else _neighbours(vectors, min(neighbours, n - 1), seed)
    levels = []
    ids, counts = torch.zeros(n, dtype=torch.int64, device=code.device), torch.tensor([n])
    for level in code.long().T:
        _, ids, counts = (ids * size + level).unique(return_inverse=True, return_counts=True)
        purity = None
        if near is not None:
            queries, found = near
            purity = (ids[found] == ids[queries, None]).double().mean().item()
        used = usage(tally(level, size))
        chance = (counts[ids] - 1).double().mean().item() / (n - 1)
        levels.append(Level(used["usage"], used["entropy_bits"], len(counts), purity, chance))
    alone = int((counts == 1).sum()) / n
    return Identifiers(n, len(counts) / n, alone, int(counts.max()), tuple(levels))


def tie_breakers(code: Tensor) -> Tensor:
    """One more index for each item, `[n]`: its number among those of its identifier, from 0.

    Source: Rajput et al. (2023), section 3.1.

    Example:
        >>> tie_breakers(torch.tensor([[3, 1], [2, 0], [3, 1]]))
        tensor([0, 0, 1])
    """
    _, ids, counts = code.unique(dim=0, return_inverse=True, return_counts=True)
    order = ids.argsort(stable=True)
    start = counts.cumsum(0) - counts
    place = torch.arange(len(code), device=code.device) - start[ids[order]]
    return torch.empty_like(place).scatter_(0, order, place)


def _check(code: Tensor, size: int, vectors: Tensor | None) -> None:
    fits = code.dim() == 2 and not code.is_floating_point() and min(code.shape) > 0
    if not fits or len(code) < 2:
        raise ValueError(
            "expected integer codes [n, levels] of at least 2 items, got "
            f"{code.dtype} {list(code.shape)}"
        )
    low, high = int(code.min()), int(code.max())
    if low < 0 or high >= size:
        raise ValueError(f"expected indices in 0..{size - 1}, got {low}..{high}")
    if vectors is not None and (vectors.dim() != 2 or len(vectors) != len(code)):
        raise ValueError(
            f"expected one vector for each of {len(code)} items, got {list(vectors.shape)}"
        )


def _neighbours(vectors: Tensor, k: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows of some items, `[q]`, and their k nearest others, `[q, k]`."""
    n = len(vectors)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    queries = order[:_QUERIES].to(vectors.device)
    found = []
    for rows in queries.split(max(1, _CHUNK // n)):
        distance = torch.cdist(vectors[rows], vectors)
        distance[torch.arange(len(rows)), rows] = torch.inf
        found.append(distance.topk(k, largest=False).indices)
    return queries, torch.cat(found)
