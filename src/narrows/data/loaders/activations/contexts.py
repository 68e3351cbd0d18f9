"""The contexts that rows of activations come from."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from narrows.data.loaders.activations.shards import (
    VOCABULARY,
    OpenShard,
    joined,
    open_shards,
    read_manifest,
)
from narrows.data.mapped import MappedSplit
from narrows.saving.writing import read_json


@dataclass(frozen=True)
class Source:
    """All rows of a folder, also those that are left out of training.

    Attributes:
        shards: mapped.
        context: of each row, `[rows]`, ascending.
        position: of each row in its context.
        token: of each row; -1 where there are no tokens.
        words: of tokens, by number; empty where there are none.
    """

    shards: list[OpenShard]
    context: Tensor
    position: Tensor
    token: Tensor
    words: dict[str, str]

    @classmethod
    def open(cls, folder: Path) -> "Source":
        """Reads what is small, and maps the rest.

        Raises:
            FileNotFoundError: if the folder has no activations.
            ValueError: if files are damaged.
        """
        shards = open_shards(folder, read_manifest(folder), verify=False)
        vocabulary = folder / VOCABULARY
        words = read_json(vocabulary, "extract again") if vocabulary.is_file() else {}
        parts = (joined(shards, name) for name in ("context", "position", "token"))
        return cls(shards, *parts, words=words)

    def window(self, row: int, *, before: int, after: int) -> Tensor:
        """Numbers of the rows around one in its context, itself included."""
        near = torch.arange(max(0, row - before), min(len(self.context), row + after + 1))
        return near[self.context[near] == self.context[row]]

    def texts(self, rows: Tensor, most: int) -> list[Tensor]:
        """The tokens of the first contexts that these rows come from."""
        chosen = self.context[rows].unique()[:most]
        return [self.token[self.context == context].long() for context in chosen.tolist()]

    def values(self, rows: Tensor) -> Tensor:
        """The activations of a few rows, `[n, d]` float32."""
        return MappedSplit([shard.values for shard in self.shards], rows).images
