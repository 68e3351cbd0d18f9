"""Pictures of one shape, gathered one at a time; what cannot be used is listed, not fatal."""

import io
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from narrows.data.checks import FEWEST
from narrows.data.pictures import UnusableImageError, read_picture


def listed(skipped: Sequence[str]) -> str:
    """The first few of what was left out, in words."""
    return "; ".join(skipped[:5]) + ("; ..." if len(skipped) > 5 else "")


class Gathered:
    """Decoded pictures in memory, or in a temporary file once they are many.

    They are grey if all are, in colour otherwise, unless a number of channels is asked for.

    Attributes:
        names: of the pictures kept, in order.
        skipped: the others, each with the reason.
    """

    def __init__(self, size: tuple[int, int] | None, *, channels: int | None, large: int) -> None:
        self.size, self.channels, self.large = size, channels, large
        self.names: list[str] = []
        self.skipped: list[str] = []
        self._sizes: dict[tuple[int, ...], str] = {}
        self._colour = channels == 3
        self._held: list[NDArray[np.uint8]] = []
        self._file: IO[bytes] | None = None

    def read(self, name: str, source: Path | bytes) -> None:
        """Adds the picture of a file or of its content, or notes why it cannot be used."""
        try:
            opened = io.BytesIO(source) if isinstance(source, bytes) else source
            picture = read_picture(opened, self.size, channels=self.channels)
        except UnusableImageError as error:
            self.skipped.append(f"{name}: {error}")
            return
        except OSError as error:
            self.skipped.append(f"{name}: cannot be read ({error.strerror or error})")
            return
        self._colour |= len(picture) == 3
        self._sizes.setdefault(picture.shape[1:], name)
        if len(self._sizes) == 1:
            self.names.append(name)
            self._held.append(picture)
            if sum(held.size for held in self._held[-1:]) * len(self._held) >= self.large:
                self._write()

    def check(self, place: str) -> None:
        """Refuses too few pictures or several sizes; warns of what was left out.

        Raises:
            ValueError: as said.
        """
        if len(self._sizes) > 1:
            some = [f"{s[1]}x{s[0]} ({name})" for s, name in list(self._sizes.items())[:3]]
            raise ValueError(
                f"the pictures have different sizes, such as {', '.join(some)}; pass size=N to "
                "scale and crop them to NxN"
            )
        found = len(self.names) + len(self.skipped)
        if len(self.names) < FEWEST:
            left = ""
            if self.skipped:
                left = f", of which {len(self.skipped)} cannot be used ({listed(self.skipped)})"
            raise ValueError(
                f"too few pictures: at least {FEWEST} are needed, {place!r} has {found}{left}"
            )
        if self.skipped:
            text = f"{len(self.skipped)} of {found} files were left out: {listed(self.skipped)}"
            warnings.warn(text, stacklevel=4)

    def images(self) -> NDArray[np.uint8]:
        """All pictures `[n, channels, height, width]`; mapped if they were written out."""
        channels = 3 if self._colour else 1
        if self._file is None:
            size = next(iter(self._sizes))
            return np.stack([np.broadcast_to(one, (channels, *size)) for one in self._held])
        self._write()
        self._file.flush()
        shape = (len(self.names), 3, *next(iter(self._sizes)))
        with self._file:  # the mapping has a handle of its own
            return np.memmap(self._file, np.uint8, "c", shape=shape)[:, :channels]

    def _write(self) -> None:
        """Writes what is held as RGB: whether all are grey is known at the end alone."""
        if self._file is None:
            # Without a name: gone with the last mapping, even if the process is killed.
            self._file = tempfile.TemporaryFile(prefix="narrows-")  # noqa: SIM115
        for picture in self._held:
            colour = np.broadcast_to(picture, (3, *picture.shape[1:]))
            self._file.write(np.ascontiguousarray(colour).data)
        self._held.clear()
