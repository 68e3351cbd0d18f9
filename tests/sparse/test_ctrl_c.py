"""Ctrl-C, as a real signal to a real process, ends every solver within a part of its work."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

PROGRAM = """
import signal, sys, time, torch
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell runs it behind
from torch.nn.functional import normalize
from narrows.functional.kmeans import kmeans, kmeans_plus_plus
from narrows.functional.nearest import nearest
from narrows.sparse import *

torch.set_num_threads(1)
torch.manual_seed(0)
D = normalize(torch.randn(4096, 128), dim=1)
x = torch.randn(20_000, 128).repeat(40, 1)  # each takes more than a minute
few, least = x[:100_000], x[:20_000]
SOLVERS = {
    "nearest": lambda: nearest(x, D.repeat(16, 1)),
    "omp": lambda: omp(few, D, k=48),
    "omp with a tolerance": lambda: omp(few, D, k=48, tolerance=1e-9),
    "top-k": lambda: [top_k(few, D, k=48, refit=True) for _ in range(100)],
    "lasso": lambda: coordinate_descent(least, D, penalty=L1(0.05, relative=True)),
    "lasso without weight": lambda: coordinate_descent(least, D, penalty=0.0),
    "fista": lambda: fista(least, D, penalty=L1(0.01, relative=True)),
    "k-means": lambda: kmeans(x, D, iterations=100),
    "k-means++": lambda: kmeans_plus_plus(x, 5_000),
    "dictionary, online": lambda: learn_dictionary(x, 512, encode=lambda x, d: omp(x, d, k=8)),
    "dictionary, of all": lambda: learn_dictionary(
        few, 512, encode=lambda x, d: omp(x, d, k=32), rule=MOD(), batch=None),
    "estimator": lambda: DictionaryLearner(256, algorithm="lasso", alpha=0.1).fit(few.numpy()),
}
nearest(x[:9], D[:9])  # torch imports at the first call; half an import stays broken
for name in sys.argv[1:] or SOLVERS:
    print(name, flush=True)
    began = time.perf_counter()
    try:
        SOLVERS[name]()
        print("ended too soon", flush=True)
    except KeyboardInterrupt:
        print(f"{time.perf_counter() - began:.1f} s", flush=True)
print("all", flush=True)
"""


@pytest.mark.parametrize(
    ("kernels", "solvers"),
    [
        ("on", ["nearest", "omp", "top-k", "lasso without weight", "dictionary, of all"]),
        pytest.param("on", [], marks=pytest.mark.slow),
        pytest.param("off", [], marks=pytest.mark.slow),
    ],
    ids=["compiled", "all", "all in torch"],
)
def test_ctrl_c_ends_every_solver(kernels, solvers):
    settings = {**os.environ, "NARROWS_KERNELS": kernels}
    command, said = [sys.executable, "-c", PROGRAM, *solvers], []
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=settings, text=True) as process:
        watch = threading.Timer(240, process.kill)
        watch.start()
        for line in process.stdout:
            said.append(line.strip())
            if said[-1] != "all" and not said[-1].endswith(" s"):
                time.sleep(0.3)
                process.send_signal(signal.SIGINT)
        watch.cancel()
    assert said[-1] == "all", said
    assert "ended too soon" not in said
