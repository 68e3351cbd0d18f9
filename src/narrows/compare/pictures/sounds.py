"""Sequences before and after: spectrograms, and sound to play."""

from collections.abc import Mapping

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.report import Gallery
from narrows.report.sound import clip, spectrum_top

CLIPS = 3


def reconstructions(
    models: Mapping[str, Autoencoder], x: Tensor, rate: int | None
) -> list[Gallery]:
    """Held-out sequences, the loudest of each third of x, and what each model makes of them.

    Args:
        models: by label.
        x: held-out examples `[n, channels, t]`.
        rate: samples per second, if they are sound.
    """
    thirds = x.tensor_split(min(CLIPS, len(x)))
    chosen = torch.stack([part[part.square().flatten(1).sum(1).argmax()] for part in thirds])
    rows = {"original": chosen} | {name: m.reconstruct(chosen) for name, m in models.items()}
    return [
        Gallery([
            clip(
                values[place].cpu().numpy(), rate=rate, caption=f"{place + 1}: {label}",
                loudest=spectrum_top(chosen[place].cpu().numpy()),
            )
            for label, values in rows.items()
        ])
        for place in range(len(chosen))
    ]  # fmt: skip
