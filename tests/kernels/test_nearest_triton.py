"""The CUDA kernel, in Triton's interpreter where there is no GPU.

Needs Triton, which CPU builds of torch come without: `pip install --no-deps triton`.
"""

import os
import subprocess
import sys

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed (it comes with CUDA torch)")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


# The interpreter must be chosen before anything imports Triton, torch included: on a machine
# without a GPU these run in a process of their own.
inside = pytest.mark.skipif(
    DEVICE == "cpu" and os.environ.get("TRITON_INTERPRET") != "1",
    reason="runs in the process that test_the_kernel_in_tritons_interpreter starts",
)


@pytest.mark.skipif(
    DEVICE == "cuda" or os.environ.get("TRITON_INTERPRET") == "1", reason="not needed"
)
def test_the_kernel_in_tritons_interpreter():
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", __file__]
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": paths}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "6 passed" in done.stdout, done.stdout[-3000:]


def _search(rows, codes):
    from narrows.kernels.nearest_triton import search

    mean = codes.mean(0)
    center = codes - mean
    parts = rows, center, mean, -0.5 * center.square().sum(1)
    found = search(*(part.to(DEVICE) for part in parts))
    return [part.cpu() for part in found]


@inside
@pytest.mark.parametrize("shape", [(1, 1, 1), (70, 5, 3), (130, 33, 70), (64, 64, 64)])
def test_the_kernel_finds_the_nearest_code_for_sizes_around_its_blocks(shape):
    n, dim, size = shape
    torch.manual_seed(0)
    rows, codes = torch.randn(n, dim) + 5, torch.randn(size, dim) + 5
    index, best, second = _search(rows, codes)
    distances = torch.cdist(rows.double(), codes.double())
    short = distances.gather(1, index[:, None])[:, 0] - distances.min(1).values
    assert short.max() < 1e-5
    assert best.isfinite().all()
    if size > 1:
        scores = (rows - codes.mean(0)) @ (codes - codes.mean(0)).T
        scores -= 0.5 * (codes - codes.mean(0)).square().sum(1)
        assert torch.allclose(second, scores.topk(2, 1).values[:, 1], atol=1e-4)


@inside
def test_ties_go_to_the_lowest_index():
    # Whole numbers of mean 0: no rounding, in whatever order a product is summed.
    codes = torch.cat([torch.eye(20), -torch.eye(20)]).repeat(3, 1) * 4
    index, *_ = _search(codes, codes)
    assert torch.equal(index, torch.arange(40).repeat(3))


@inside
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # the interpreter's NumPy
def test_rows_that_are_not_finite_have_scores_that_are_not():
    rows = torch.randn(10, 6)
    rows[3, 2], rows[5, 0] = float("nan"), float("inf")
    _, best, _ = _search(rows, torch.randn(70, 6))
    assert (~best.isfinite()).nonzero().flatten().tolist() == [3, 5]
