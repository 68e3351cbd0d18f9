"""`huggingface:NAME`: images of the Hugging Face hub or of a local folder in its formats."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from narrows.data.arrays import from_array
from narrows.data.dataset import Dataset, Origin
from narrows.data.mapped import LARGE
from narrows.data.reading.gathering import Gathered

ABOUT = "a data set of the Hugging Face hub (needs the extra huggingface)"
ARGUMENT = "NAME"


def load(
    root: Path | None = None,
    *,
    argument: str,
    split: str = "train",
    column: str | None = None,
    size: int | None = None,
    most: int | None = None,
    seed: int = 0,
) -> Dataset:
    """Streams a split, decodes each picture once, and divides it as `from_array` does.

    Nothing but the decoded pictures is kept, in memory or, where they are large, in a temporary
    file that is mapped: the set may be larger than memory. Classes are those of the column
    "label" or "labels", if there is one.

    Args:
        root: a relative path that is not found here is looked for there.
        argument: name on the hub, or a local folder of parquet or image files.
        split: which of its splits to read.
        column: of the pictures; by default the first that holds images.
        size: side of a square to which pictures are scaled and cropped.
        most: number of pictures after which to stop.
        seed: of the division into training, validation and test.

    Raises:
        ModuleNotFoundError: if the extra is not installed.
        ValueError: if there is no column of images, or too few can be used.
    """
    try:
        from datasets import Image as ImageFeature  # pyright: ignore[reportMissingImports]
        from datasets import load_dataset  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "data of the Hugging Face hub need its library: pip install 'narrows[huggingface]'"
        ) from None
    local = root / argument if root is not None and (root / argument).is_dir() else argument
    rows = load_dataset(str(local), split=split, streaming=True)
    features = rows.features or {}
    pictures = column or next((k for k, f in features.items() if isinstance(f, ImageFeature)), None)
    if pictures is None or (features and pictures not in features):
        raise ValueError(
            f"{argument!r} has no column of images {column or ''}; it has {[*features]}"
        )
    rows = rows.cast_column(pictures, ImageFeature(decode=False))
    named = next((name for name in ("label", "labels") if name in features), None)
    sides = None if size is None else (size, size)
    gathered, labels = Gathered(sides, channels=None, large=LARGE), []
    for number, row in enumerate(rows if most is None else rows.take(most)):
        stored = row[pictures]
        gathered.read(str(number), stored["bytes"] or Path(stored["path"] or ""))
        labels.append(None if named is None else row[named])
    gathered.check(argument)
    kept = None if named is None else np.array([labels[int(name)] for name in gathered.names])
    data = from_array(gathered.images(), kept, name=argument, layout="nchw", seed=seed)
    names = getattr(features.get(named), "names", None) if named else None
    if names and data.classes:
        data = replace(data, classes=tuple(names[int(place)] for place in data.classes))
    return replace(data, origin=Origin(skipped=tuple(gathered.skipped)))
