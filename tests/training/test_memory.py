"""A process that keeps its memory does not ask for it at every step."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, torch
from narrows.training.seeding import keep_memory

if sys.argv[1] == "keep" and not keep_memory():
    sys.exit(9)
for _ in range(3):
    torch.empty(10_000_000).fill_(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.empty(10_000_000).fill_(1)  # 40 MB, which malloc maps and unmaps unless told otherwise
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode):
    """Pages that the system had to map."""
    command = [sys.executable, "-c", PROGRAM, mode]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 9:
        pytest.skip("the C library is not glibc")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow
def test_freed_memory_is_used_again_without_being_mapped_again():
    given_back = faults("default")
    assert given_back > 150  # 10 times 40 MB, even in pages of 2 MiB
    assert faults("keep") < given_back / 4
