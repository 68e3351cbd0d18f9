import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from narrows import kernels
from narrows.functional import nearest as module
from narrows.functional.nearest import nearest


def _brute_force(rows, codes):
    """The definition, in float64."""
    return torch.cdist(rows.double(), codes.double(), compute_mode="donot_use_mm_for_euclid_dist")


@pytest.fixture(params=["torch", "compiled"])
def path(request, monkeypatch):
    """Both ways to the answer."""
    monkeypatch.setenv("NARROWS_KERNELS", "off" if request.param == "torch" else "on")
    return request.param


def _shortfall(rows, codes, index):
    """By how much each answer is farther than the nearest code, relative to the distance."""
    distances = _brute_force(rows, codes)
    best = distances.min(1).values
    return (distances.gather(1, index[:, None])[:, 0] - best) / best.clamp_min(1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 70), st.integers(1, 70), st.integers(1, 70), st.integers(0, 10**6))
def test_it_is_the_argmin_of_the_distance_for_any_shape(n, size, dim, seed):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, dim, generator=generator)
    codes = torch.randn(size, dim, generator=generator)
    for search in (nearest, module.search_by_torch):  # nearest is compiled where that is possible
        index = search(rows, codes)
        assert index.shape == (n,)
        assert index.dtype == torch.int64
        if n:
            assert _shortfall(rows, codes, index).max() < 1e-4


def test_float32_equals_float64_brute_force_where_codes_are_apart(path):
    torch.manual_seed(0)
    codes = torch.randn(300, 16)
    truth = torch.randint(300, (2000,))
    rows = codes[truth] + 0.05 * torch.randn(2000, 16)
    assert torch.equal(_brute_force(rows, codes).argmin(1), truth)
    assert torch.equal(nearest(rows, codes), truth)


def test_float64_is_searched_in_float64(path):
    codes = torch.tensor([[1.0], [1.0 + 1e-12]], dtype=torch.float64)
    rows = torch.tensor([[1.0 - 1e-9], [1.0 + 1e-9]], dtype=torch.float64)
    assert nearest(rows, codes).tolist() == [0, 1]


def test_ties_go_to_the_lowest_index(path):
    torch.manual_seed(0)
    codes = torch.randn(37, 8)
    doubled = torch.cat([codes, codes, codes])
    assert torch.equal(nearest(doubled, doubled), torch.arange(37).repeat(3))
    assert nearest(torch.randn(100, 8), torch.ones(50, 8)).eq(0).all()


@pytest.mark.parametrize("offset", [30.0, 300.0, 3000.0])
def test_a_common_offset_costs_no_answers(path, offset):
    torch.manual_seed(0)
    codes = torch.randn(256, 32) + offset
    rows = torch.randn(4000, 32) + offset
    index = nearest(rows, codes)
    # What the naive expansion does here, in the same precision:
    naive = (codes.square().sum(1) - 2 * rows @ codes.T).argmin(1)
    truth = _brute_force(rows, codes).argmin(1)
    assert (index == truth).float().mean() > 0.999
    if offset == 300.0:
        assert (naive != truth).float().mean() > 0.02


def test_bfloat16_and_autocast_give_the_indices_of_float32(path):
    torch.manual_seed(0)
    rows, codes = torch.randn(500, 24).bfloat16(), torch.randn(64, 24)
    expected = nearest(rows.float(), codes)
    assert torch.equal(nearest(rows, codes), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(nearest(rows.float(), codes), expected)


def test_any_leading_shape_and_strides_are_taken(path):
    torch.manual_seed(0)
    images, codes = torch.randn(2, 6, 3, 4), torch.randn(9, 6)
    index = nearest(images.permute(0, 2, 3, 1), codes)
    assert index.shape == (2, 3, 4)
    rows = images.permute(0, 2, 3, 1).reshape(-1, 6).contiguous()
    assert torch.equal(index.flatten(), _brute_force(rows, codes).argmin(1))


def test_chunks_do_not_change_the_answer(monkeypatch):
    torch.manual_seed(0)
    rows, codes = torch.randn(101, 5), torch.randn(17, 5)
    whole = module.search_by_torch(rows, codes)
    monkeypatch.setattr(module, "_BUFFER", 32 * 3)
    assert torch.equal(module.search_by_torch(rows, codes), whole)


def test_nothing_to_search_gives_nothing(path):
    assert nearest(torch.zeros(0, 4), torch.zeros(3, 4)).shape == (0,)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_refused(path, value):
    rows, codes = torch.randn(40, 8), torch.randn(20, 8)
    for tensor, what in ((rows, "feature"), (codes, "codebook")):
        kept = tensor[17, 3].item()
        tensor[17, 3] = value
        with pytest.raises(ValueError, match=what):
            nearest(rows, codes)
        tensor[17, 3] = kept


def test_widths_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"\[\.\.\., dim\]"):
        nearest(torch.zeros(2, 3), torch.zeros(4, 5))
    with pytest.raises(ValueError, match="at least 1"):
        nearest(torch.zeros(2, 3), torch.zeros(0, 3))


def test_compiled_and_torch_find_codes_of_equal_distance_in_both_precisions():
    if kernels.load("nearest") is None:
        pytest.skip(kernels.status("nearest"))
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        torch.manual_seed(0)
        # Sizes around the tiles and panels of the kernel, and more rows than one block.
        for n, size, dim in itertools.product((1, 11, 13, 500), (1, 15, 33, 64), (1, 3, 130)):
            rows, codes = torch.randn(n, dim, dtype=dtype), torch.randn(size, dim, dtype=dtype)
            index = nearest(rows, codes)
            assert _shortfall(rows, codes, index).max() < tolerance, (n, size, dim)
            assert (index == module.search_by_torch(rows, codes)).float().mean() > 0.99


def test_the_number_of_threads_does_not_change_the_answer():
    torch.manual_seed(0)
    rows, codes = torch.randn(1000, 12), torch.randn(50, 12)
    threads = torch.get_num_threads()
    try:
        answers = []
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            answers.append(nearest(rows, codes))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(answers[0], answers[1])
    assert torch.equal(answers[0], answers[2])


def _hard_cases():
    generator = torch.Generator().manual_seed(5)

    def normal(*shape, scale=1.0):
        return scale * torch.randn(*shape, generator=generator)

    def whole(*shape, most=3):
        return torch.randint(-most, most + 1, shape, generator=generator).float()

    outliers = normal(300, 12)
    outliers[[7, 90]] = torch.tensor([[2e6], [-3e5]]).expand(2, 12)
    ladder = normal(200, 12) * 10.0 ** torch.arange(-2, 8).repeat(20)[:, None]
    twins = normal(200, 12)[torch.arange(200) // 7 * 3]
    twins[50:90] = torch.tensor([[0.0], [-0.0]]).repeat(20, 12)
    spikes = torch.zeros(400, 64)
    spikes[torch.arange(400), torch.arange(400) % 64] = 1 + torch.arange(400) / 400
    near = normal(1, 21) + 1e-4 * whole(600, 21)
    groups = normal(300, 12) + 3000 * (torch.arange(300) % 2 * 2 - 1)[:, None]
    return {
        "outliers": (normal(800, 12), outliers),
        "rows beside outliers": (outliers + normal(300, 12, scale=0.1), outliers),
        "a ladder of scales": (ladder + normal(200, 12), ladder),
        "twins, and zeros of both signs": (torch.cat([normal(500, 12), twins]), twins),
        "two groups": (groups + normal(300, 12), groups),
        "rows far from all codes": (normal(300, 12) + 1e5, normal(200, 12)),
        "tiny": (normal(500, 12, scale=1e-30), normal(200, 12, scale=1e-30)),
        "subnormal": (normal(500, 4, scale=1e-41), normal(60, 4, scale=1e-41)),
        "huge": (normal(500, 12, scale=1e19), normal(200, 12, scale=1e19)),
        "as large as it gets": (normal(50, 3, scale=7e37), normal(20, 3, scale=7e37)),
        "nearly one code": (normal(500, 12), 1 + normal(200, 12, scale=1e-6)),
        "whole numbers": (whole(900, 12), whole(300, 12)),
        "halves between whole numbers": (whole(900, 2) + 0.5, whole(300, 2)),
        "wide whole numbers": (whole(90, 300, most=1), whole(70, 300, most=1)),
        "codes of two scales": (
            normal(400, 33) * 10.0 ** (torch.arange(400) % 5 - 4)[:, None],
            normal(300, 33) * 10.0 ** -(torch.arange(300) % 2 * 4)[:, None],
        ),
        "one number in all": (spikes + normal(400, 64, scale=1e-4), spikes[:150]),
        "ties that rounding breaks": (near + normal(600, 21, scale=1e-5), near[::3]),
        "one code": (normal(20, 3), normal(1, 3)),
        "float64 huge": (normal(90, 5).double() * 1e200, normal(40, 5).double() * 1e200),
        "float64 tiny": (normal(90, 5).double() * 1e-200, normal(40, 5).double() * 1e-200),
        "float64 whole numbers": (whole(400, 5).double(), whole(90, 5).double()),
    }


@pytest.mark.parametrize("case", _hard_cases())
def test_the_answer_is_the_lowest_index_of_the_smallest_distance(path, case):
    rows, codes = _hard_cases()[case]
    unit = 2.0 ** -rows.abs().max().double().log2().floor()
    differences = (rows.double() * unit)[:, None] - codes.double() * unit
    # min, since argmin does not promise the first of equals
    distances = differences.square().sum(-1)
    first = (distances == distances.min(1, keepdim=True).values).int().cumsum(1).eq(0).sum(1)
    assert torch.equal(nearest(rows, codes), first)


def test_rounding_is_no_reason_to_compare_fresh_codes_one_by_one():
    torch.manual_seed(0)
    rows, codes = torch.randn(200, 64), torch.empty(512, 64).uniform_(-1 / 512, 1 / 512)
    frame = module._Frame.of(codes)
    signals = (rows - frame.middle) * frame.scale
    best = (signals @ frame.codes.T + frame.offset).topk(2).values
    doubt = frame.doubt(signals.norm(dim=1), best[:, 0], torch.zeros(200, dtype=torch.int64))
    assert ((best[:, 0] - best[:, 1]) > doubt).float().mean() > 0.95


def test_arrays_are_refused_with_the_way_out():
    for pair in ((np.zeros((3, 2)), torch.eye(2)), (torch.zeros(3, 2), np.eye(2))):
        with pytest.raises(TypeError, match=r"torch\.as_tensor"):
            nearest(*pair)
