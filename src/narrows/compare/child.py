"""`python -m narrows.compare.child ...`: a `narrows` that ends when its starter does.

A comparison that is killed cannot stop its runs. Each holds the read end of a pipe instead,
whose other end nobody but the comparison has: at its end, however it came about, the run stops,
and the same command later finds a folder that no other process writes to.
"""

import os
import runpy
import threading


def _wait_for_starter() -> None:
    # Not through sys.stdin, whose lock a waiting thread would still hold at the end.
    while os.read(0, 1):
        pass
    os._exit(1)  # checkpoints are written whole or not at all: nothing is lost by leaving now


if __name__ == "__main__":
    threading.Thread(target=_wait_for_starter, daemon=True).start()
    runpy.run_module("narrows", run_name="__main__", alter_sys=True)
