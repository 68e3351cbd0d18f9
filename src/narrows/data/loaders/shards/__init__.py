"""`shards:DIR`: a folder of `.npy` or `.safetensors` files, which stay on the disk."""

from pathlib import Path

from narrows.data.checks import Layout
from narrows.data.dataset import Dataset
from narrows.data.loaders.array import find_path
from narrows.data.shards import from_shards

ABOUT = "your own images or vectors from a folder of array files, larger than memory"
ARGUMENT = "DIR"


def load(  # noqa: PLR0913 (all are named)
    root: Path | None = None,
    *,
    argument: str,
    key: str | None = None,
    labels: str | bool | None = None,
    layout: Layout = "auto",
    fractions: tuple[float, float] = (0.1, 0.1),
    seed: int = 0,
    buffer: int | None = None,
    verify: bool | None = None,
) -> Dataset:
    """Loads a folder as `from_shards` does.

    Args:
        root: a relative path that is not found here is looked for there.
        argument: the folder.
        key: name of the examples in files of several arrays.
        labels: another name of the labels; "none" or False for no labels.
        layout: of the axes.
        fractions: shares for validation and test, where the folder has no splits.
        seed: of the split.
        buffer: rows that training shuffles together; by default what half a GiB holds.
        verify: of a folder that narrows wrote, compare the checksums, which reads all of it; by
            default up to 4 GiB. Sizes are compared always.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if its files cannot be taken for examples.
    """
    return from_shards(
        find_path(argument, root), key=key, labels=labels, layout=layout, fractions=fractions,
        seed=seed, buffer=buffer, verify=verify,
    )  # fmt: skip
