"""How long until something happens: the import, the help, the first step of `narrows train`.

    OMP_NUM_THREADS=2 python -m benchmarks.startup [--rounds 5] [--ledger]

Each is a process of its own; processes are interleaved, seconds are the shortest of all rounds.
The floor is torch alone: its import and an `Adam`, which imports torch's compiler.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from evidence.benchmarks import record

_FLOOR = "import torch; torch.optim.Adam([torch.nn.Parameter(torch.ones(1))])"
_IMPORT = "import narrows"
_HELP = "from narrows.cli.main import main; main(['--help'])"
_FIRST_STEP = """
import os, torch
from torch.optim.optimizer import register_optimizer_step_post_hook
register_optimizer_step_post_hook(lambda *a: os._exit(0))
from narrows.cli.main import main
main(["train", "ae", "--data", "array:x.npy", "--epochs", "1", "--out", "run"])
raise SystemExit("no step was made")
"""


def seconds(program: str) -> float:
    """Of a process that runs the program in an empty folder, which holds 2,000 vectors."""
    with tempfile.TemporaryDirectory() as folder:
        vectors = np.random.default_rng(0).normal(size=(2000, 32)).astype("float32")
        np.save(Path(folder) / "x.npy", vectors)
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], cwd=folder, check=True, capture_output=True)
        return time.perf_counter() - begun


def main() -> None:
    """Prints, and with --ledger records, the seconds."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ledger", action="store_true")
    options = parser.parse_args()
    programs = {
        "bare interpreter": "pass",
        "import narrows": _IMPORT,
        "narrows --help": _HELP,
        "torch and an optimiser": _FLOOR,
        "narrows train, first step": _FIRST_STEP,
    }
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(options.rounds):
        for name, program in programs.items():
            times[name].append(seconds(program))
    found = {name: min(every) for name, every in times.items()}
    for name, shortest in found.items():
        print(f"{name:28} {shortest:6.2f} s")
    if options.ledger:
        for name, shortest in found.items():
            record("startup", name, {"seconds": round(shortest, 2)}, rounds=options.rounds)


if __name__ == "__main__":
    main()
