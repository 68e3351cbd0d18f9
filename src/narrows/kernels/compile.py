"""C++ compiled on first use into the user's cache, and called through ctypes.

A kernel is one file `narrows/kernels/NAME.cpp` with `extern "C"` functions over raw pointers; what
several share stands in headers beside them. It is built in a second or two without torch's
headers, once for each (source, compiler, CPU), and found in the cache from then on, under a name
that holds its checksum: a damaged library is compiled again. Where the cache cannot be had, or
others may write to it, each process compiles for itself and leaves nothing behind. Without a
compiler, or with `NARROWS_KERNELS=off`, `load` returns None and the caller computes with torch.

    call = function("nearest", "nearest", rows, codes)
    if call is None: ...                        # the torch version
    call(rows, codes, len(rows), ..., torch.get_num_threads(), index)

Kernels take the number of threads as an argument, for `#pragma omp parallel num_threads(threads)`.
On Linux they share torch's own OpenMP runtime, because it is already loaded under the same name,
hence also its pool of threads.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from narrows.tasks.shown import shown

_COMMON = ("-O3", "-std=c++17", "-shared", "-fPIC", "-fno-math-errno")
# In order of preference; a compiler that refuses one is given the next.
_FLAGS = (
    ("-march=native", "-fopenmp"),
    ("-mcpu=native", "-fopenmp"),
    ("-march=native",),
    ("-mcpu=native",),
    (),
)
# Of one call, for each thread; fewer rows than the least would be packing and little else.
_OPERATIONS, _LEAST_ROWS = 2.0**32, 64
_lock = threading.Lock()


def load(name: str) -> ctypes.CDLL | None:
    """Returns the compiled library of `narrows/kernels/{name}.cpp`, or None where there is none.

    Set `NARROWS_KERNELS=off` to switch every kernel off; `CXX` names the compiler (default:
    c++, g++ or clang++, the first there is); `NARROWS_CACHE` the folder of compiled code
    (default `$XDG_CACHE_HOME/narrows`, else `~/.cache/narrows`).

    Raises:
        ValueError: if there is no such source file, or NARROWS_KERNELS is neither on nor off.
    """
    if not enabled():
        return None
    with _lock:
        return _library(name)[0]


def function(kernel: str, name: str, *tensors: Tensor) -> Callable[..., int] | None:
    """The compiled function for these tensors' dtype, or None where torch has to compute.

    It takes tensors (results must be contiguous), None for a tensor that is absent, whole numbers
    (as C's long) and floats (as double), and returns a long.
    """
    first = tensors[0]
    usable = (
        not torch.compiler.is_compiling()
        and first.dtype in (torch.float32, torch.float64)
        and all(t.device.type == "cpu" and t.dtype == first.dtype for t in tensors)
    )
    library = load(kernel) if usable else None
    if library is None:
        return None
    compiled = getattr(library, f"{name}_{str(first.dtype).removeprefix('torch.')}")
    compiled.restype = ctypes.c_long

    def call(*arguments: Tensor | float | None) -> int:
        held = [a.contiguous() if isinstance(a, Tensor) else a for a in arguments]
        return compiled(*map(_as_c, held))

    return call


def parts(rows: int, cost: float) -> Iterator[slice]:
    """Rows for one call at a time, as Python hears of Ctrl-C only between calls.

    Args:
        rows: how many there are.
        cost: operations that one takes, about; a part is a second or two of one thread.
    """
    step = torch.get_num_threads() * max(_LEAST_ROWS, int(_OPERATIONS / cost))
    for start in range(0, max(rows, 1), step):
        yield slice(start, min(start + step, rows))


def _as_c(value: Tensor | float | None) -> ctypes.c_void_p | ctypes.c_long | ctypes.c_double:
    if value is None or isinstance(value, Tensor):
        return ctypes.c_void_p(0 if value is None else value.data_ptr())
    return ctypes.c_double(value) if isinstance(value, float) else ctypes.c_long(value)


def status(name: str) -> str:
    """Says in a few words whether the kernel is compiled, and if not, why not."""
    if not enabled():
        return "off (NARROWS_KERNELS=off)"
    with _lock:
        return _library(name)[1]


def enabled() -> bool:
    """Whether kernels are to be used at all: `NARROWS_KERNELS` is not off.

    Raises:
        ValueError: if it is neither on nor off.
    """
    value = os.environ.get("NARROWS_KERNELS", "on").strip().lower()
    if value not in ("on", "off"):
        raise ValueError(f"expected NARROWS_KERNELS to be on or off, got {value!r}")
    return value == "on"


@functools.cache
def _library(name: str) -> tuple[ctypes.CDLL | None, str]:
    """The library and what to say about it; built at most once in a process."""
    source = Path(__file__).with_name(f"{name}.cpp")
    if not source.is_file():
        raise ValueError(f"expected the name of a kernel, got {name!r}: there is no {source}")
    compiler = _compiler()
    if compiler is None:
        return None, "no C++ compiler found (looked for $CXX, c++, g++, clang++)"
    try:
        with _cache() as folder:
            path = _build(source, compiler, folder)
            return ctypes.CDLL(str(path)), f"compiled by {compiler}"
    except (OSError, subprocess.SubprocessError) as error:
        # A compiler that is there but fails is worth a word; the results stay the same.
        detail = getattr(error, "stderr", None) or str(error)
        warnings.warn(
            f"narrows could not compile its kernel {name!r} with {compiler} and uses the slower "
            f"torch version; set NARROWS_KERNELS=off to silence this. {detail.strip()[-500:]}",
            RuntimeWarning,
            stacklevel=3,
        )
        return None, f"{compiler} failed"


def _build(source: Path, compiler: str, cache: Path) -> Path:
    """Compiles `source` into `cache` unless it is there already."""
    stem = f"{source.stem}-{_key(_text(source), compiler)}"
    for known in cache.glob(f"{stem}-*.so"):
        if known.name == f"{stem}-{_checksum(known)}.so":
            return known
        known.unlink(missing_ok=True)  # cut short or changed: loading it could end the process
    # Everyone compiles into a file of his own and moves it into place in one step, so that a
    # second process sees either nothing or the whole library.
    handle, name = tempfile.mkstemp(dir=cache, prefix=f".{source.stem}-", suffix=".so")
    scratch = Path(name)
    try:
        _compile(compiler, source, name)
        os.fsync(handle)  # the name must not reach the disk before the content
        target = cache / f"{stem}-{_checksum(scratch)}.so"
        scratch.replace(target)
    finally:
        os.close(handle)
        scratch.unlink(missing_ok=True)
    return target


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:24]


def _text(source: Path) -> bytes:
    """A kernel's source and all headers beside it, any of which it may include."""
    headers = sorted(source.parent.glob("*.h"))
    return b"\0".join(path.read_bytes() for path in (source, *headers))


def _compile(compiler: str, source: Path, target: str) -> None:
    """Runs the compiler with the best flags that it takes."""
    for flags in _FLAGS:
        command = [compiler, *_COMMON, *flags, "-o", target, str(source)]
        with shown(f"compiling {source.stem} (once)"):
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode == 0:
            return
    done.check_returncode()


def _key(source: bytes, compiler: str) -> str:
    """A hash of all that the compiled code depends on."""
    version = subprocess.run(
        [compiler, "--version"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    parts = (source, version.encode(), _cpu().encode(), repr((_COMMON, _FLAGS)).encode())
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:24]


def _compiler() -> str | None:
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        found = shutil.which(name) if name else None
        if found:
            return found
    return None


def _cpu() -> str:
    """What -march=native depends on: a home folder may be shared by unlike machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
        wanted = ("vendor_id", "model", "model name", "flags", "Features", "CPU part")
        return "\n".join(line for line in lines if line.split("\t")[0].strip() in wanted)
    except OSError:
        return f"{platform.machine()} {platform.processor()} {platform.platform()}"


@contextmanager
def _cache() -> Iterator[Path]:
    """The user's cache if it is his alone, because code is loaded from it; else a passing one."""
    folder = _folder()
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="narrows-kernels-") as passing:
        yield Path(passing)  # what is loaded stays loaded after its file is gone


def _folder() -> Path | None:
    """The folder of the settings, made if need be; None where nothing may be kept in it."""
    base = os.environ.get("NARROWS_CACHE") or os.environ.get("XDG_CACHE_HOME")
    try:
        root = Path(base) if base else Path.home() / ".cache"
        folder = root / ("kernels" if os.environ.get("NARROWS_CACHE") else "narrows/kernels")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mine = all(_private(place) for place in (folder, folder.parent))
        return folder if mine and os.access(folder, os.W_OK) else None
    except (OSError, RuntimeError, AttributeError):  # no home, read-only, no user ids
        return None


def _private(folder: Path) -> bool:
    """Whether nobody else can put another library in here, or another folder in its place."""
    known = folder.stat()
    others = known.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return known.st_uid == os.getuid() and (not others or bool(known.st_mode & stat.S_ISVTX))
