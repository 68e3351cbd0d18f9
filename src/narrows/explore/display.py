"""Examples as a browser shows them: pictures, or lines with a spectrogram and sound."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from narrows.report import stretch
from narrows.report.images import to_png
from narrows.report.sound import spectrogram, spectrum_top, to_wav

BRIGHTEST = 0.5
"""The error, as a share of the range of values, that is drawn in the brightest colour."""
_POINTS, _CHANNELS = 400, 4
"""Columns of a line, and lines, that are drawn."""
_SHORTEST = 512
"""Sequences from this length on have a spectrogram."""


class Shown(TypedDict, total=False):
    """What a browser draws: a picture; or of each channel the lowest and highest in each column."""

    picture: str
    lines: list[list[list[float]]]
    spectrogram: str
    sound: str


@dataclass(frozen=True)
class Display:
    """How examples of one data set are shown.

    Attributes:
        shape: of an example.
        low: the value that is drawn black, or at the bottom.
        high: the value that is drawn white, or at the top.
        features: the axis of an example that holds the channels of a sequence.
        rate: samples per second of sound, or None.
    """

    shape: tuple[int, ...]
    low: float = 0.0
    high: float = 1.0
    features: int = 0
    rate: int | None = None
    kind: str = field(init=False)

    def __post_init__(self) -> None:
        kinds = {1: "vector", 3: "image"}
        object.__setattr__(self, "kind", kinds.get(len(self.shape), "sequence"))

    def example(self, x: Tensor, beside: Tensor | None = None) -> Shown:
        """One example `[*shape]`; a spectrogram is as bright as that of the one beside."""
        if self.kind == "image":
            return Shown(picture=uri(self.pixels(x)))
        values = self._channels(x)
        shown = Shown(lines=[_envelope(one) for one in values[:_CHANNELS]])
        if values.shape[1] >= _SHORTEST:
            top = spectrum_top(values if beside is None else self._channels(beside))
            picture = spectrogram(values, caption="", loudest=top)
            shown["spectrogram"] = f"data:image/png;base64,{picture.base64}"
        if self.rate is not None:
            wav = base64.b64encode(to_wav(values, self.rate)).decode()
            shown["sound"] = f"data:audio/wav;base64,{wav}"
        return shown

    def error(self, x: Tensor, y: Tensor) -> Shown:
        """Where two examples differ: the mean over channels of |x - y|, or the difference."""
        if self.kind != "image":
            return Shown(lines=[_envelope(one) for one in self._channels(x - y)[:_CHANNELS]])
        share = (x - y).abs().mean(0).numpy() / (BRIGHTEST * (self.high - self.low))
        return Shown(picture=uri(matplotlib.colormaps["magma"](share.clip(0, 1), bytes=True)))

    def pixels(self, x: Tensor) -> NDArray[np.uint8]:
        """An image `[channels, height, width]` as `[height, width, 3]` bytes."""
        x = x if len(x) == 3 else x[:1].expand(3, -1, -1)
        unit = ((x.float() - self.low) / (self.high - self.low)).nan_to_num().clamp(0, 1)
        return (unit.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()

    def tiles(self, images: Tensor, box: tuple[slice, slice]) -> list[str]:
        """The same part of each image; none of other examples."""
        if self.kind != "image":
            return [""] * len(images)
        return [uri(self.pixels(image[(slice(None), *box)])) for image in images]

    def differences(self, changes: Tensor, box: tuple[slice, slice]) -> list[str]:
        """Signed images, mid-grey where there is no change, each stretched for itself."""
        if self.kind != "image":
            return [""] * len(changes)
        cut = changes[(slice(None), slice(None), *box)].numpy()
        grey = torch.from_numpy(stretch(cut, symmetric=True))
        return [uri(Display(self.shape).pixels(one)) for one in grey]

    def box(self, site: Sequence[int], grid: Sequence[int]) -> tuple[slice, slice]:
        """The part of an image around a site: three sites a side."""
        sides = self.shape[-2:]
        if self.kind != "image" or len(site) != 2:
            return slice(None), slice(None)
        found = []
        for place, count, side in zip(site, grid, sides, strict=True):
            wide = min(side, max(4, round(3 * side / count)))
            start = round((place + 0.5) * side / count - wide / 2)
            start = min(max(start, 0), side - wide)
            found.append(slice(start, start + wide))
        return found[0], found[1]

    def _channels(self, x: Tensor) -> NDArray[np.float64]:
        """A vector or a sequence as `[channels, t]`."""
        if self.kind == "vector":
            return x[None].double().numpy()
        return x.movedim(self.features, 0).flatten(1).double().numpy()


def uri(pixels: NDArray[np.uint8]) -> str:
    """Bytes `[height, width, 3 or 4]` as the address of a PNG picture."""
    return f"data:image/png;base64,{base64.b64encode(to_png(pixels)).decode()}"


def _envelope(values: NDArray[np.float64]) -> list[list[float]]:
    """The lowest and the highest value of each of at most `_POINTS` columns."""
    columns = np.array_split(values, min(_POINTS, len(values)))
    return [[float(one.min()), float(one.max())] for one in columns]
