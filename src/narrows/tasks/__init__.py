"""Work that is kept: computations in processes, each with a key, a folder and an outcome.

A `Task` has a key made of its configuration and of the source that it executes; `Local` and
`OnRay` run tasks and keep finished results, so that running the same tasks again does only what
is missing. Begin with `task.py`. A function of yours is a task as a `Call`:

    def area(folder, radius):          # in a module that can be imported
        return {"area": 3.14159 * radius**2}

    with Local(workers=2) as executor:
        tasks = [Call(area, {"radius": r}) for r in (1.0, 2.0)]
        outcomes = executor.run(tasks, Path("runs/areas"), report=print)
    areas = [outcome.result["area"] for outcome in outcomes if outcome.error is None]

A function that trains for long keeps its checkpoints in `folder` and looks there first: a task
that was stopped is run again in the same folder. One that loads data caches them
(`functools.cache`): a worker serves one task after the other.
"""

from narrows.tasks.executor import Executor, Local, Report
from narrows.tasks.on_ray import OnRay
from narrows.tasks.task import Call, Cost, Outcome, Result, Task, execute, keep, kept

__all__ = [
    "Call",
    "Cost",
    "Executor",
    "Local",
    "OnRay",
    "Outcome",
    "Report",
    "Result",
    "Task",
    "execute",
    "keep",
    "kept",
]
