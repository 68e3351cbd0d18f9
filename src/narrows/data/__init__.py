"""Data: `load(name)`, `from_array(array)`, `pairs(x, y)`, and the two shapes they come in.

One source a file; a source is a module of this package with a function `load`. Nothing of a
source is imported before it is asked for.
"""

from narrows.data.arrays import from_array, pairs
from narrows.data.batching import batches
from narrows.data.dataset import Dataset, Origin, Split
from narrows.data.loading import load, sources
from narrows.data.objects import from_torchvision
from narrows.data.reading.shard_folder import write_shards
from narrows.data.shards import from_arrays, from_shards

__all__ = [
    "Dataset",
    "Origin",
    "Split",
    "batches",
    "from_array",
    "from_arrays",
    "from_shards",
    "from_torchvision",
    "load",
    "pairs",
    "sources",
    "write_shards",
]
