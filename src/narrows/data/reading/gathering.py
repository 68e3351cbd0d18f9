"""Pictures of one shape, gathered one at a time; what cannot be used is listed, not fatal."""

import io
import tempfile
import warnings
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from narrows.data.arrays import FEWEST
from narrows.data.pictures import UnusableImageError, match_channels, read_picture


class Gathered:
    """Decoded pictures in memory, or in a temporary file once they are many.

    Attributes:
        names: of the pictures kept, in order.
        skipped: the others, each with the reason.
    """

    def __init__(self, size: tuple[int, int] | None, channels: int | None, large: int) -> None:
        self.size = size
        self.channels = channels
        self.large = large
        self.names: list[str] = []
        self.skipped: list[str] = []
        self._shapes: dict[tuple[int, ...], str] = {}
        self._held: list[NDArray[np.uint8]] = []
        self._file: IO[bytes] | None = None

    def read(self, name: str, source: Path | bytes) -> None:
        """Adds the picture of a file or of its content, or notes why it cannot be used."""
        try:
            opened = io.BytesIO(source) if isinstance(source, bytes) else source
            picture = read_picture(opened, self.size, self.channels)
        except UnusableImageError as error:
            self.skipped.append(f"{name}: {error}")
            return
        except OSError as error:
            self.skipped.append(f"{name}: cannot be read ({error.strerror or error})")
            return
        if self._shapes and self.channels is None:
            picture = match_channels(picture, next(iter(self._shapes))[0])
        self._shapes.setdefault(picture.shape, name)
        if len(self._shapes) == 1:
            self.names.append(name)
            self._held.append(picture)
            if len(self._held) * picture.size >= self.large:
                self._write()

    def check(self, place: str) -> None:
        """Refuses too few pictures or several sizes; warns of what was left out.

        Raises:
            ValueError: as said.
        """
        if len(self._shapes) > 1:
            some = [f"{s[2]}x{s[1]} ({name})" for s, name in list(self._shapes.items())[:3]]
            raise ValueError(
                f"the pictures have different sizes, such as {', '.join(some)}; pass size=N to "
                "scale and crop them to NxN"
            )
        found = len(self.names) + len(self.skipped)
        listed = "; ".join(self.skipped[:5]) + ("; ..." if len(self.skipped) > 5 else "")
        if len(self.names) < FEWEST:
            left = f", of which {len(self.skipped)} cannot be used ({listed})" if listed else ""
            raise ValueError(
                f"too few pictures: at least {FEWEST} are needed, {place!r} has {found}{left}"
            )
        if listed:
            text = f"{len(self.skipped)} of {found} files were left out: {listed}"
            warnings.warn(text, stacklevel=4)

    def images(self) -> NDArray[np.uint8]:
        """All pictures `[n, channels, height, width]`; mapped if they were written out."""
        if self._file is None:
            return np.stack(self._held)
        self._write()
        self._file.flush()
        shape = (len(self.names), *next(iter(self._shapes)))
        with self._file:  # the mapping has a handle of its own
            return np.memmap(self._file, np.uint8, "c", shape=shape)

    def _write(self) -> None:
        if self._file is None:
            # Without a name: gone with the last mapping, even if the process is killed.
            self._file = tempfile.TemporaryFile(prefix="narrows-")  # noqa: SIM115
        for picture in self._held:
            self._file.write(np.ascontiguousarray(picture).data)
        self._held.clear()
