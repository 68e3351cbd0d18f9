"""Pictures in tar files, as WebDataset lays them out: members of one name are one example."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from narrows.data.pictures import endings

_LABEL = "cls"
_MOST = 1 << 28  # bytes of a member that is read


@dataclass
class Member:
    """What a tar file holds under one name.

    Attributes:
        name: up to the first dot of the last part.
        pictures: content of each picture, by what follows that dot.
        label: content of `.cls`, or None.
        others: endings of what else there is.
    """

    name: str
    pictures: dict[str, bytes] = field(default_factory=dict)
    label: str | None = None
    others: list[str] = field(default_factory=list)


def members(path: Path) -> Iterator[Member]:
    """The examples of a tar file, packed by gzip, bzip2, xz or not, in their order.

    Members of one name follow one another; nothing is unpacked to the disk.

    Raises:
        ValueError: if the file is empty, truncated or damaged, or a name comes up again later.

    Source: the format of the library webdataset, https://github.com/webdataset/webdataset.
    """
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty; make it again, or leave it out")
    current, seen = None, set[str]()
    try:
        with tarfile.open(path) as archive:
            while (entry := archive.next()) is not None:
                archive.members = []  # pyright: ignore  # it would grow with the file
                if not entry.isreg() or PurePosixPath(entry.name).name.startswith("."):
                    continue
                name, end = _parts(entry.name)
                if current is None or name != current.name:
                    if current is not None:
                        yield current
                    if name in seen:
                        raise _OrderError(
                            f"{path}: {name!r} comes up again after others; members of one name "
                            "must follow one another (tar --sort=name)"
                        )
                    seen.add(name)
                    current = Member(name)
                _read(archive, entry, current, end)
            _check_end(archive)
    except _OrderError:
        raise
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        fault = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{path} is truncated or damaged ({fault}); make it again, or leave it out"
        ) from None
    if current is not None:
        yield current


class _OrderError(ValueError):
    """Something else than damage is wrong."""


def _parts(name: str) -> tuple[str, str]:
    """The name of an example, and what follows its first dot."""
    path = PurePosixPath(name)
    stem, _, end = path.name.partition(".")
    return str(path.with_name(stem or path.name)), end.lower()


def _read(archive: tarfile.TarFile, entry: tarfile.TarInfo, found: Member, end: str) -> None:
    """Adds a member to its example; what is neither a picture nor a class is not read."""
    picture = f".{end.rpartition('.')[2]}" in endings()
    if entry.size > _MOST or not (picture or end == _LABEL):
        found.others.append(end if entry.size <= _MOST else f"{end} of {entry.size:,} bytes")
        return
    file = archive.extractfile(entry)
    content = b"" if file is None else file.read()
    if len(content) < entry.size:
        raise EOFError(f"{entry.name} ends after {len(content)} of {entry.size} bytes")
    if picture:
        found.pictures[end] = content
    else:
        found.label = content.decode("utf-8", "replace").strip()


def _check_end(archive: tarfile.TarFile) -> None:
    """An empty block ends a tar file; the library takes a damaged header and a cut for the end."""
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise EOFError(f"no member and no end mark at byte {archive.offset:,}")
