"""Memory that a process keeps between two steps instead of asking for it anew."""

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # <malloc.h> of glibc
_LARGEST = 1 << 30


def keep_memory() -> bool:
    """Lets this process reuse what it frees; glibc gives it back to the system otherwise.

    A step of training on a CPU frees its activations, and the next asks for as many: each page
    of 4 KiB is then mapped and cleared anew, by default. Afterwards the process holds on to the
    most memory that it has had, but for tensors above 1 GiB. It concerns all of the process, so
    `narrows train` and `narrows compare` do it in theirs, and `fit` leaves it to its caller.

    Returns:
        Whether the C library is one that can be told so.

    Source: mallopt(3); the gain is in docs/training.md.
    """
    if os.name != "posix":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_TRIM_THRESHOLD, -1) and mallopt(_MMAP_THRESHOLD, _LARGEST))
