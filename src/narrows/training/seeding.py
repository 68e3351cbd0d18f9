"""Random numbers of a step, and memory kept between steps."""

import ctypes
import os

import torch

_MASK = (1 << 64) - 1


def seed_step(seed: int, step: int, *, rank: int = 0, device: torch.device | None = None) -> None:
    """Seeds torch's generators, CPU and device, for one optimiser step of one rank.

    Every step draws from its own stream, named by (seed, step, rank). A run that is resumed at
    any step, or was never stopped, therefore draws the same numbers without a generator's state
    being kept, and ranks draw different ones.

    Args:
        seed: of the run, at least 0.
        step: counted from 0 over the whole run; -1 for what follows training.
        rank: of this process.
        device: where the model is; None for the CPU.
    """
    number = mix(mix(mix(seed) + step + 1) + rank) >> 1
    # Not torch.manual_seed: where CUDA is not in use, it notes a stack trace for later, 1 ms.
    torch.default_generator.manual_seed(number)
    if device is not None and device.type == "cuda":
        torch.cuda.manual_seed(number)
    elif device is not None and device.type == "mps":
        torch.mps.manual_seed(number)


def mix(number: int) -> int:
    """A bijection of 64-bit numbers that sends neighbours far apart.

    Source: the output function of SplitMix64 (Steele, Lea and Flood, 2014).
    """
    number = (number + 0x9E3779B97F4A7C15) & _MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _MASK
    return number ^ (number >> 31)


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
