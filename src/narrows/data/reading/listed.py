"""Files of a folder that a list describes: verified, and named in what is wrong with them."""

from dataclasses import dataclass
from pathlib import Path

from narrows.saving.writing import file_checksum


@dataclass(frozen=True)
class Listed:
    """What the list of a folder says of a file.

    Attributes:
        file: its name, relative to the folder.
        rows: how many examples it holds.
        bytes: its size.
        sha256: its checksum.
    """

    file: str
    rows: int
    bytes: int
    sha256: str


def check_listed(folder: Path, entry: Listed, *, verify: bool, named: str, remedy: str) -> Path:
    """The path of a listed file that is what it was when it was written.

    Args:
        folder: that holds it.
        entry: of the list.
        verify: read it all and compare the checksum, not the size alone.
        named: name of the list.
        remedy: what to do if the file is not right.

    Raises:
        ValueError: if it is missing, empty, truncated or changed.
    """
    path = folder / entry.file
    if not path.is_file():
        raise ValueError(f"{path} is missing, which {named} lists: {remedy}")
    size = path.stat().st_size
    if size != entry.bytes:
        fault = f"it has {size:,} bytes and had {entry.bytes:,} when it was written"
        raise ValueError(f"{path} is {'empty' if not size else 'damaged'} ({fault}): {remedy}")
    if verify and file_checksum(path) != entry.sha256:
        raise ValueError(f"{path} is damaged (its checksum is not the listed one): {remedy}")
    return path
