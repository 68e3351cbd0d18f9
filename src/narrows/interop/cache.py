"""Latents of another library's model, computed once, to try bottlenecks on."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from narrows.data.dataset import Array, Dataset, Split
from narrows.functional.examples import refuse_range
from narrows.interop.parts import Parts, parts
from narrows.modes import evaluating
from narrows.saving.writing import whole


@torch.no_grad()
def cache(
    module: nn.Module | Parts,
    data: "Dataset | Tensor | Array",
    *,
    path: str | Path,
    batch_size: int = 64,
) -> Path:
    """Writes what the encoder makes of all examples to a `.npy` file, `[n, channels, *sites]`.

    `narrows compare vq fsq ... --data array:latents.npy --data-options.layout own` (`nct` for
    sequences) then compares bottlenecks on them without the model. Of means and log variances the
    means are written.

    Args:
        module: as of `swap`; computes in eval, on the device that it is on.
        data: a data set, of which training, validation and test examples follow one another; or
            `[n, *shape]`, images in [0, 1].
        path: of the file; a folder that is not there is made.
        batch_size: examples encoded together.

    Returns:
        The path.

    Raises:
        ValueError: if there is no example, the path does not end in .npy, or a latent is not
            finite.
    """
    target = Path(path)
    if target.suffix != ".npy":
        raise ValueError(f"expected a path that ends in .npy, got {str(path)!r}")
    found = module if isinstance(module, Parts) else parts(module)
    splits = _splits(data, images=found.signed)
    n = sum(map(len, splits))
    if not n:
        raise ValueError("expected at least one example to cache")
    like = next(found.encoder.parameters(), torch.zeros(()))
    target.parent.mkdir(parents=True, exist_ok=True)
    with evaluating(found.encoder), whole(target) as partial:
        file, row = None, 0
        for split in splits:
            for rows in torch.arange(len(split)).split(batch_size):
                latents = found.encode(split.batch(rows).to(like)).float().cpu().numpy()
                if not np.isfinite(latents).all():
                    raise ValueError(f"latents of the examples from {row} on are NaN or infinite")
                if file is None:
                    shape = (n, *latents.shape[1:])
                    file = np.lib.format.open_memmap(partial, "w+", latents.dtype, shape)
                file[row : row + len(latents)] = latents
                row += len(latents)
        assert file is not None
        file.flush()
    return target


def _splits(data: Dataset | Tensor | Array, *, images: bool) -> list[Split]:
    """All parts of the data that have examples."""
    if isinstance(data, Dataset):
        return [part for part in (data.train, data.validation, data.test) if len(part)]
    given = torch.as_tensor(data)
    if images:
        refuse_range(given)
    return [
        Split(
            given if given.dtype == torch.uint8 else given.float(), features=None if images else 0
        )
    ]
