"""Files written whole or not at all, read with a sentence about what is wrong; folders locked."""

import contextlib
import errno
import fcntl
import hashlib
import itertools
import json
import math
import os
import re
import shutil
import socket
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

import yaml


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    with whole(path) as partial:
        partial.write_bytes(content)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place beside a file to write to; it becomes the file if the block ends without an error.

    Each writer has a place of its own, so that two of one file do not meet. What a kill leaves
    there is removed by the next writing into the folder.

    Raises:
        OSError: of the block, such as that the disk is full; it names the file.
    """
    _sweep(path.parent)
    own = f"{PARTIAL}{_HOST}-{os.getpid()}-{next(_NUMBERS)}"
    partial = path.with_name(f".{path.stem[:40]}{own}{path.suffix}")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(partial), partial):
            error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


PARTIAL = ".partial-"
"""In the names of files that are being written, before the writer's machine and process."""
_HOST = re.sub(r"\W", "_", socket.gethostname())
_NUMBERS = itertools.count()
_SWEPT: dict[Path, float] = {}


def _sweep(folder: Path) -> None:
    """Removes what processes of this machine left in a folder that died while they wrote."""
    now = time.monotonic()
    if now - _SWEPT.get(folder, -math.inf) < 1:
        return  # a folder of thousands that are written is not looked through for each
    _SWEPT[folder] = now
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            writer = re.search(rf"^\..*{PARTIAL}{_HOST}-(\d{{1,9}})-", name)
            if writer and not _alive(int(writer[1])):
                left = folder / name
                shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # of another user
    return True


SEAL = "checksum"
"""Key of a JSON or YAML file under which the checksum of all else in it stands."""


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON file with its checksum, whole or not at all."""
    write_text(path, json.dumps(_sealed(content), indent=1) + "\n")


def write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a YAML file with its checksum, whole or not at all."""
    write_text(path, yaml.safe_dump(_sealed(content), sort_keys=False))


def check_keys(
    content: Mapping[str, Any],
    path: Path,
    remedy: str,
    *,
    needed: Iterable[str],
    optional: Iterable[str] = (),
) -> None:
    """Refuses a file without its keys, or with others: damage, such as to the checksum's name.

    Raises:
        ValueError: with the file, the key and the remedy.
    """
    missing = [f"it has no {key!r}" for key in needed if key not in content]
    known = {*needed, *optional}
    strange = [f"it has an unknown key {key!r}" for key in content if key not in known]
    if missing or strange:
        raise ValueError(f"{path} is damaged ({[*missing, *strange][0]}): {remedy}")


def _sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    return {**content, SEAL: _content_checksum(content)}


def _unsealed(content: dict[str, Any], path: Path, remedy: str) -> dict[str, Any]:
    """What was sealed; without a checksum (early files of 0.2.0, recipes) as it is."""
    kept = {key: value for key, value in content.items() if key != SEAL}
    if content.get(SEAL, "") not in ("", _content_checksum(kept)):
        raise ValueError(
            f"{path} is damaged or was edited (its checksum is not that of its content): {remedy}; "
            f"after an edit of your own remove its line {SEAL!r}"
        )
    return kept


def _content_checksum(content: Mapping[str, Any]) -> str:
    """Of plain data, as JSON gives it back."""
    plain = json.loads(json.dumps(content))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """The object that a JSON file holds, less its checksum.

    Args:
        path: of the file.
        remedy: what the user can do if it is damaged.

    Raises:
        ValueError: with the file, the fault and the remedy.
    """
    try:
        content = _mapping(json.loads(path.read_bytes()))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({_fault(path, error)}): {remedy}") from error
    return _unsealed(content, path, remedy)


def read_rows(path: Path, remedy: str) -> list[dict[str, Any]]:
    """The objects of a file with one in each line; arguments and errors as `read_json` has them."""
    try:
        return [_mapping(json.loads(line)) for line in path.read_bytes().splitlines()]
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({_fault(path, error)}): {remedy}") from error


def read_yaml(path: Path, remedy: str) -> dict[str, Any]:
    """The mapping that a YAML file holds; arguments and errors as `read_json` has them."""
    try:
        content = _mapping(yaml.safe_load(path.read_bytes()))
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({_fault(path, error)}): {remedy}") from error
    return _unsealed(content, path, remedy)


def file_checksum(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mapping(content: object) -> dict[str, Any]:
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ValueError(f"expected names with values, got {type(content).__name__}")
    return content


def _fault(path: Path, error: Exception) -> str:
    """One line on why a file cannot be read."""
    return " ".join(str(error).split()) if path.stat().st_size else "it is empty"


LOCK = ".lock"
"""Name of the file that says who writes into a folder."""
_HELD: ContextVar[tuple[Path, ...]] = ContextVar("held", default=())


class FolderInUseError(RuntimeError):
    """Another process writes into a folder."""


@contextlib.contextmanager
def sole_writer(folder: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Holds the lock of a folder, which is made if it is not there; the system frees it at death.

    Within a block that holds it, it may be taken again. On a file system without locks there is
    none, which is a warning.

    Args:
        folder: that is written.
        patience: seconds to wait for another process to end.

    Raises:
        FolderInUseError: if another process holds it; says which, on which machine, since when.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place = folder.resolve()
    if place in _HELD.get():
        yield
        return
    file, token = _lock(place / LOCK, time.monotonic() + patience), _HELD.set((*_HELD.get(), place))
    try:
        yield
    finally:
        _HELD.reset(token)
        (place / LOCK).unlink(missing_ok=True)
        file.close()


_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


def _lock(path: Path, until: float) -> IO[str]:
    """The open lock file, with this process's name in it."""
    while True:
        file = path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < until:
                file.close()
                time.sleep(0.1)
                continue
            file.seek(0)
            holder = " ".join(file.read().split()) or "another process"
            file.close()
            raise FolderInUseError(
                f"{path.parent} is being written by {holder}; wait until it ends, or choose "
                "another folder"
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            warnings.warn(
                f"{path.parent} is on a file system without locks ({error.strerror}): see to it "
                "that no other process writes there",
                stacklevel=4,
            )
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break
        file.close()  # its holder removed it meanwhile
    file.truncate(0)
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    began = time.strftime("%Y-%m-%d %H:%M:%S")
    file.write(f"process {os.getpid()} on {socket.gethostname()} since {began} ({command})\n")
    file.flush()
    return file
