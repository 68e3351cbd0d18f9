"""`python -m narrows.tasks.worker`: a process that serves tasks until nobody asks.

Tasks come through standard input and outcomes leave through standard output, both pickled. Who
started it holds the other end of standard input, which closes at its end, however that came
about; then the process ends too. A killed comparison leaves nothing behind that would write into
the folders of the next.
"""

import os
import pickle
import queue
import sys
import threading
from pathlib import Path

from narrows.tasks.task import Outcome, Task, execute


def serve() -> None:
    """Runs one task after the other."""
    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    # Not through sys.stdin, whose lock a waiting thread would still hold at the end.
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # whatever a task prints must not come between outcomes

    def receive() -> None:
        while True:
            try:
                tasks.put(pickle.load(incoming))
            except EOFError:
                os._exit(1)  # results are kept whole or not at all: nothing is lost by leaving now

    threading.Thread(target=receive, daemon=True).start()
    while True:
        pickle.dump(_answer(tasks.get()), outgoing)
        outgoing.flush()


def _answer(message: bytes) -> Outcome[Task] | str:
    """The outcome, or why there is none."""
    try:
        task, root = pickle.loads(message)
        assert isinstance(root, Path)
        return execute(task, root)
    except Exception as error:  # the task's own module cannot be imported
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(serve())
