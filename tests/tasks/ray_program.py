"""Starts a Ray cluster of two nodes on this machine, and kills one while it works.

    python ray_program.py tasks FOLDER
    python ray_program.py compare|choose WORD...

The last line that it prints is a JSON object. It leaves with the processes of the cluster.
"""

import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
from ray.cluster_utils import Cluster

from narrows.cli.main import main
from narrows.tasks import Call, OnRay
from tests.tasks import chores

QUICK = {  # to notice a lost node; by default Ray takes half a minute
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 4,
}


def ancestors(pid):
    """Ids of a process and of all above it."""
    while pid > 1:
        yield pid
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def at_work(node, out):
    """The folder of the task that a node is making; None while there is none."""
    (raylet,) = (info.process.pid for info in node.all_processes["raylet"])
    for lock in out.glob("runs/*/.lock"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            if raylet in ancestors(int(lock.read_text().split()[1])):
                return lock.parent.name
    return None


@contextlib.contextmanager
def cluster():
    """Two nodes of one core each: the second, which is to be killed, and their address."""
    with contextlib.chdir(tempfile.gettempdir()):  # as on another machine: not where we are
        head = {"num_cpus": 1, "include_dashboard": False, "_system_config": QUICK}
        both = Cluster(initialize_head=True, head_node_args=head)
        second = both.add_node(num_cpus=1)
    try:
        yield both, second
    finally:
        both.shutdown()


def kill(both, node, out, lost):
    """Kills a node once it is making a task, in a thread."""

    def wait():
        task, before = None, None
        while task is None or task != before:  # it has been at it for a moment
            time.sleep(0.3)
            task, before = at_work(node, out), task
        lost.append(task)
        both.remove_node(node, allow_graceful=False)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def tasks(out):
    """Six tasks of a second each."""
    root, lost = out / "runs", []
    with cluster() as (both, node), OnRay(both.address) as executor:
        at_once = executor.at_once
        calls = [Call(chores.reads, {"seed": seed, "path": "beside.txt"}) for seed in range(6)]
        thread = kill(both, node, out, lost)
        outcomes = executor.run(calls, root)
        thread.join()
    begun = Counter(path.name.split("-")[1] for path in root.glob("begun-*"))
    seeds = [call.arguments["seed"] for call in calls if call.key in lost]
    return {
        "errors": [outcome.error for outcome in outcomes],
        "values": [outcome.figures.get("value") for outcome in outcomes],
        "at once": at_once,
        "begun": begun,
        "lost": seeds,
    }


def command(words):
    """A command of narrows on the cluster."""
    lost, out = [], Path(words[-1])
    with cluster() as (both, node):
        thread = kill(both, node, out, lost)
        code = main([*words[:-2], "--ray", both.address, *words[-2:]])
        thread.join()
    return {"code": code, "lost": lost}


if __name__ == "__main__":
    first, *rest = sys.argv[1:]
    print("\n" + json.dumps(tasks(Path(rest[0])) if first == "tasks" else command(sys.argv[1:])))
