"""Where files of data lie: the user's folder first, then the cache, then their publisher."""

import hashlib
import logging
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from functools import cache
from http.client import HTTPResponse
from pathlib import Path

from narrows.saving.writing import file_checksum, write_text

_log = logging.getLogger(__name__)
_TIMEOUT = 20  # seconds without a byte
_BLOCK = 1 << 18


def cache_folder() -> Path:
    """`$NARROWS_CACHE/data`, by default the user's cache folder."""
    import pooch

    named = os.environ.get("NARROWS_CACHE")
    return (Path(named) if named else Path(pooch.os_cache("narrows"))) / "data"


def find(names: Sequence[str], folders: Sequence[str], root: Path | None) -> Path | None:
    """The first whole file of these names, in these folders of the root or of the cache."""
    for base in (root, cache_folder()):
        if base is None:
            continue
        for folder in folders:
            for name in names:
                path = base / folder / name
                if path.is_file() and (base == root or _whole(path)):
                    return path
    return None


def _whole(path: Path) -> bool:
    """False, and put aside, if a file in the cache is no longer what was downloaded."""
    known = _beside(path)
    if not known.is_file():
        return True
    if known.read_bytes().strip() == _checksum(path, path.stat().st_mtime_ns).encode():
        return True
    aside = path.replace(path.with_name(f"{path.name}.damaged"))
    _log.warning("%s is not what was downloaded: it is now %s, and fetched again", path, aside)
    known.unlink()
    return False


def _beside(path: Path) -> Path:
    """Where the checksum of a downloaded file is kept."""
    return path.with_name(f".{path.name}.sha256")


@cache
def _checksum(path: Path, _changed: int) -> str:
    return file_checksum(path)


def download(
    urls: Sequence[str],
    folder: str,
    *,
    known_hash: str | None = None,
    check: Callable[[Path], bool] | None = None,
) -> Path:
    """Downloads a file into the cache from the first address that works, and verifies it.

    A download that breaks off is kept beside the file as `.NAME.part` and continued by the
    next attempt.

    Args:
        urls: the data set's published addresses, in the order to be tried.
        folder: below the cache folder.
        known_hash: of the file as published, such as "md5:...", if it is known.
        check: True if the file's content is the published one.

    Raises:
        FileNotFoundError: if no address gave the right file; the message says where to put it.
    """
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    target = cache_folder() / folder
    failures = []
    for url in urls:
        name = url.rsplit("/", 1)[1]
        try:
            path = Path(
                pooch.retrieve(url, known_hash, name, target, downloader=_resume_download)  # pyright: ignore[reportArgumentType]
            )
            if check is not None and not check(path):
                raise ValueError("its content is not the published one")
            write_text(_beside(path), file_checksum(path))
            return path
        except ValueError as error:  # a wrong file must not be found by the next run
            (target / name).unlink(missing_ok=True)
            failures.append(f"{url}: {error}")
        except OSError as error:
            failures.append(f"{url}: {getattr(error, 'reason', None) or error}")
    name = urls[0].rsplit("/", 1)[1]
    raise FileNotFoundError(
        f"{name} is not here and could not be downloaded ({'; '.join(failures)}); get it from "
        f"there and put it into {target}, or into {folder}/ of a folder that --data-root or "
        "NARROWS_DATA names"
    )


def _resume_download(url: str, output_file: str, _pooch: object) -> None:
    """Downloads as pooch asks, continuing where an earlier attempt broke off."""
    output = Path(output_file)
    part = output.parent / f".{url.rsplit('/', 1)[1]}.part"
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            resumed = answer.status == 206
            _copy(answer, part, have if resumed else 0)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # 416: nothing beyond what we have, so it is whole, or not the file
            raise
    part.replace(output)


def digest(data: bytes) -> str:
    """MD5 of content in hexadecimal; a guard against damage, not against malice."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _copy(answer: HTTPResponse, part: Path, have: int) -> None:
    """Appends the answer's body to `part`, with a progress bar on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    length = int(answer.headers.get("Content-Length") or 0)
    console = Console(stderr=True)
    shown = Progress(console=console, disable=not sys.stderr.isatty(), transient=True)
    with shown, part.open("ab" if have else "wb") as file:
        task = shown.add_task(part.name[1:-5], total=length + have or None, completed=have)
        received = 0
        while block := answer.read(_BLOCK):
            file.write(block)
            received += len(block)
            shown.update(task, advance=len(block))
    if length and received < length:
        raise OSError(f"the connection closed after {have + received} of {have + length} bytes")
