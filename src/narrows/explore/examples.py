"""The examples that a page can choose: those of a test split, and what a person draws or drops."""

import io
import tempfile
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor

from narrows.data.dataset import Dataset
from narrows.data.pictures import UnusableImageError, read_picture
from narrows.data.reading.sound import UnusableSoundError, read_sound
from narrows.explore.display import Display
from narrows.saving.writing import write_bytes

KEPT = 64
"""Drawn or dropped examples that are kept; older ones are forgotten."""
_RANGE = 256
"""Test examples from which the range of values in their own unit is taken."""


def display_for(data: Dataset) -> Display:
    """How the examples of a data set are shown: images in [0, 1], others over their own range."""
    if not data.own_units:
        return Display(data.shape)
    values = data.test.batch(torch.arange(min(_RANGE, len(data.test))))
    low, high = float(values.min()), float(values.max())
    high = high if high > low else low + 1
    return Display(data.shape, low, high, features=data.test.features or 0, rate=data.rate)


class Examples:
    """The test split of some data, and examples from outside.

    Args:
        data: whose test split is shown.
        display: how its examples are shown.
    """

    def __init__(self, data: Dataset, display: Display) -> None:
        self._data, self.display = data, display
        self._own: OrderedDict[str, Tensor] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return len(self._data.test)

    @property
    def takes_files(self) -> bool:
        """True for images in [0, 1], and for sound."""
        return not self._data.own_units or self.display.rate is not None

    def find(self, name: object) -> Tensor:
        """The example `[*shape]` of a name: `test-12`, or what `take` returned.

        Raises:
            LookupError: if there is none.
        """
        kind, _, number = str(name).partition("-")
        if kind == "test" and number.isdecimal() and int(number) < len(self):
            return self._data.test.batch(torch.tensor([int(number)]))[0]
        if str(name) in self._own:
            return self._own[str(name)]
        raise LookupError(
            f"there is no example {str(name)[:40]!r}; choose one of 0..{len(self) - 1}, or draw or "
            "drop it again"
        )

    def label(self, row: int) -> str:
        """The class of a test example; "" where there is none."""
        labels = self._data.test.batch_labels(torch.tensor([row]))
        if labels is None:
            return ""
        names, label = self._data.classes, int(labels[0])
        return names[label] if names and label < len(names) else str(label)

    def take(self, content: bytes) -> str:
        """Keeps the example in a file's content under a new name.

        Raises:
            ValueError: if it cannot be used, with the reason.
        """
        self._count += 1
        name = f"own-{self._count}"
        self._own[name] = self._read(content)
        while len(self._own) > KEPT:
            self._own.popitem(last=False)
        return name

    def _read(self, content: bytes) -> Tensor:
        shape = self.display.shape
        try:
            if not self._data.own_units:
                array = read_picture(io.BytesIO(content), shape[1:], channels=shape[0])  # type: ignore
                return torch.from_numpy(array.copy()).float() / 255
            if self.display.rate is not None:
                return self._sound(content, self.display.rate)
        except UnusableImageError as error:
            raise ValueError(f"this file cannot be used as a picture: {error}") from None
        except UnusableSoundError as error:
            raise ValueError(f"this file cannot be used as sound: {error}") from None
        raise ValueError("files are read for images in [0, 1] and for sound; choose a test example")

    def _sound(self, content: bytes, rate: int) -> Tensor:
        """The window with most energy of a sound file."""
        channels, length = self.display.shape
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "dropped"
            write_bytes(path, content)
            sound, own = read_sound(path, mono=channels == 1)
        if own != rate or len(sound) != channels or sound.shape[1] < length:
            raise UnusableSoundError(
                f"expected {channels} channels at {rate} Hz and at least {length} samples, got "
                f"{len(sound)} at {own} Hz and {sound.shape[1]} samples; convert it first"
            )
        parts = torch.from_numpy(sound).unfold(1, length, max(1, length // 2))
        loudest = int(parts.square().sum((0, 2)).argmax())
        return parts[:, loudest].clone()
