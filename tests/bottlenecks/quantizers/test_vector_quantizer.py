import copy
import itertools
import math
import re

import pytest
import torch
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from narrows.bottlenecks import CodebookLearning, FiniteScalarQuantizer, VectorQuantizer
from narrows.testing import check_bottleneck


def _started(**kwargs):
    """A quantiser whose codes lie among unit normal features."""
    names = {"codebook": "method", "init": "init", "decay": "decay", "warmup": "warmup"}
    own = {"revive_after": None} | {
        names[name]: kwargs.pop(name) for name in names if name in kwargs
    }
    quantizer = VectorQuantizer(
        **({"size": 16, "dim": 4} | kwargs), learning=CodebookLearning(**own)
    )
    torch.manual_seed(0)
    quantizer.update([quantizer(torch.randn(40, 3, quantizer.in_features))])
    return quantizer


def _state(module):
    return copy.deepcopy(module.state_dict())


def _equal(one, two):
    return all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("codebook", ["ema", "gradient"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("estimator", ["straight_through", "rotation"])
def test_every_kind_keeps_the_contract(codebook, metric, estimator):
    quantizer = VectorQuantizer(
        16,
        5,
        learning=CodebookLearning(method=codebook, init="kmeans"),
        metric=metric,
        estimator=estimator,
    )
    check_bottleneck(quantizer, export=False)


def test_coding_exports():
    check_bottleneck(VectorQuantizer(16, 5))


# The gradient


def test_beta_multiplies_the_commitment_alone_and_each_term_moves_one_side():
    quantizer = _started(codebook="gradient", commitment=0.5)
    assert quantizer.weights == {"commitment": 0.5, "codebook": 1.0}
    x = torch.randn(5, 3, 4, requires_grad=True)
    latent = quantizer(x)
    codes = quantizer.codebook.vectors
    (to_x,) = torch.autograd.grad(latent.terms["commitment"].sum(), x, retain_graph=True)
    assert torch.allclose(to_x, 2 * (x - latent.z).detach())
    with pytest.raises(RuntimeError, match=r"unused|not have been used"):
        torch.autograd.grad(latent.terms["commitment"].sum(), codes, retain_graph=True)
    (to_codes,) = torch.autograd.grad(latent.terms["codebook"].sum(), codes)
    expected = torch.zeros_like(codes)
    expected.index_add_(0, latent.code.flatten(), 2 * (latent.z - x).detach().reshape(-1, 4))
    assert torch.allclose(to_codes, expected, atol=1e-6)


def test_terms_are_sums_over_sites_and_width_for_each_example():
    quantizer = _started()
    x = torch.randn(5, 3, 4)
    latent = quantizer(x)
    expected = (x - latent.z).double().square().sum((1, 2))
    assert torch.allclose(latent.terms["commitment"].double(), expected, rtol=1e-5)


def test_the_loss_reaches_a_moving_average_codebook_by_no_gradient():
    quantizer = _started()
    x = torch.randn(5, 4, requires_grad=True)
    quantizer(x).z.sum().backward()
    assert list(quantizer.parameters()) == []
    assert not quantizer.codebook.vectors.requires_grad


# The moving averages


def test_one_update_is_the_exponential_moving_average_of_its_definition():
    quantizer = _started(decay=0.8)
    counts, sums = quantizer.codebook.counts.clone(), quantizer.codebook.sums.clone()
    latent = quantizer(torch.randn(20, 3, 4))
    quantizer.update([latent])
    for k in range(16):
        rows = latent.features.reshape(-1, 4)[latent.code.flatten() == k].double()
        count = 0.8 * counts[k].double() + 0.2 * len(rows)
        total = 0.8 * sums[k].double() + 0.2 * rows.sum(0)
        assert torch.allclose(quantizer.codebook.vectors[k].double(), total / count, atol=1e-6)


def test_the_codes_used_are_those_from_before_the_update():
    quantizer = _started()
    x = torch.randn(50, 4)
    before = quantizer.codebook.vectors.clone()
    latent = quantizer(x)
    quantizer.update([latent])
    assert torch.equal(latent.z, before[latent.code])
    assert not torch.equal(quantizer.codebook.vectors, before)


def test_unused_codes_keep_their_place_for_ten_thousand_updates():
    quantizer = VectorQuantizer(3, 2, learning=CodebookLearning(init="uniform", revive_after=None))
    far = torch.tensor([100.0, -70.0])
    quantizer.codebook.vectors[2] = far
    x = torch.randn(8, 2)
    latent = quantizer(x)
    for _ in range(10_000):
        quantizer.update([latent])
    assert torch.equal(quantizer.codebook.vectors[2], far)
    assert quantizer.codebook.vectors.isfinite().all()
    assert quantizer.codebook.counts.sum() == pytest.approx(8, rel=1e-4)  # and not smoothed


def test_a_code_forgotten_and_found_again_is_the_mean_of_its_new_features():
    quantizer = VectorQuantizer(
        2, 1, learning=CodebookLearning(init="uniform", revive_after=None, decay=0.5)
    )
    near, far = torch.full((4, 1), 1.0), torch.full((4, 1), 50.0)
    quantizer.codebook.vectors.copy_(torch.tensor([[0.0], [60.0]]))
    for _ in range(200):
        quantizer.update([quantizer(near)])
    assert quantizer.codebook.vectors[1] == 60
    quantizer.update([quantizer(far)])
    assert quantizer.codebook.vectors[1].item() == pytest.approx(50)


def test_update_counts_every_micro_batch_once():
    whole, split = _started(), _started()
    x = torch.randn(24, 3, 4)
    whole.update([whole(x)])
    split.update([split(part) for part in x.chunk(4)])
    for name, value in whole.state_dict().items():
        assert torch.allclose(value.double(), split.state_dict()[name].double(), atol=1e-6)


def test_activation_checkpointing_counts_each_example_once():
    plain, checked = _started(), _started()
    kept = []
    x = torch.randn(24, 4, requires_grad=True)

    def coded(features):
        kept.append(checked(features))
        return kept[-1].z.square()  # something that has to be recomputed

    with set_checkpoint_early_stop(False):
        checkpoint(coded, x, use_reentrant=False).sum().backward()
    assert len(kept) == 2  # forward ran twice
    checked.update(kept[:1])
    plain.update([plain(x)])
    assert _equal(plain.state_dict(), checked.state_dict())


# Start and revival


def test_the_data_start_puts_every_code_on_a_feature():
    quantizer = VectorQuantizer(8, 4)
    x = torch.randn(30, 4)
    quantizer.update([quantizer(x)])
    codebook = quantizer.codebook
    assert torch.cdist(codebook.vectors, x).min(1).values.max() == 0
    assert len(codebook.vectors.unique(dim=0)) == 8
    assert torch.equal(codebook.sums, codebook.vectors)


def test_fewer_features_than_codes_are_shared_out_evenly():
    quantizer = VectorQuantizer(7, 2)
    x = torch.randn(3, 2)
    quantizer.update([quantizer(x)])
    _, often = quantizer.codebook.vectors.unique(dim=0, return_counts=True)
    assert sorted(often.tolist()) == [2, 2, 3]


def test_the_kmeans_start_sets_the_sums_to_counts_times_means():
    quantizer = VectorQuantizer(8, 4, learning=CodebookLearning(init="kmeans"))
    x = torch.randn(200, 4)
    quantizer.update([quantizer(x)])
    codebook = quantizer.codebook
    assert codebook.counts.sum() == 200
    assert torch.allclose(codebook.sums, codebook.vectors * codebook.counts[:, None], atol=1e-5)
    drawn = VectorQuantizer(8, 4, learning=CodebookLearning(init="data"))
    drawn.update([drawn(x)])
    assert quantizer(x).terms["commitment"].sum() < 0.9 * drawn(x).terms["commitment"].sum()


def test_revival_resets_vector_sum_count_and_idleness_together():
    quantizer = VectorQuantizer(4, 2, learning=CodebookLearning(init="uniform", revive_after=3))
    quantizer.codebook.vectors[3] = 1000.0
    x = torch.randn(60, 2)
    for step in range(3):
        assert quantizer.codebook.vectors[3, 0] == 1000, step
        quantizer.update([quantizer(x)])
    codebook = quantizer.codebook
    assert torch.cdist(codebook.vectors[3:], x).min() == 0
    assert torch.equal(codebook.sums[3], codebook.vectors[3])
    assert codebook.counts[3] == 1
    assert codebook.idle[3] == 0


def test_revival_brings_a_collapsed_codebook_back_to_full_use():
    used = {}
    for revive_after in (None, 5):
        quantizer = VectorQuantizer(
            64, 4, learning=CodebookLearning(init="uniform", revive_after=revive_after)
        )
        torch.manual_seed(0)
        totals = torch.zeros(64)
        for step in range(60):
            latent = quantizer(5 + torch.randn(256, 4))  # uniform codes lie in one corner
            quantizer.update([latent])
            totals += latent.stats["counts"] * (step >= 50)
        used[revive_after] = quantizer.summary({"counts": totals}, 1)["usage"]
    assert used[None] < 0.2
    assert used[5] == 1.0


def test_draws_are_private_and_seeded():
    def run(seed, global_seed):
        torch.manual_seed(1)
        quantizer = VectorQuantizer(8, 4, learning=CodebookLearning(revive_after=1), seed=seed)
        x = torch.randn(10, 30, 4)
        torch.manual_seed(global_seed)
        before = torch.random.get_rng_state()
        for batch in x:
            quantizer.update([quantizer(batch)])
        assert torch.equal(before, torch.random.get_rng_state())
        return quantizer.state_dict()

    assert _equal(run(0, 5), run(0, 6))
    assert not _equal(run(0, 5), run(1, 5))


def test_a_resumed_quantizer_draws_what_the_uninterrupted_one_draws():
    quantizer = VectorQuantizer(32, 4, learning=CodebookLearning(revive_after=2))
    batches = torch.randn(8, 40, 4)
    for batch in batches[:4]:
        quantizer.update([quantizer(batch)])
    twin = VectorQuantizer(32, 4, learning=CodebookLearning(revive_after=2))
    twin.load_state_dict(_state(quantizer))
    for batch in batches[4:]:
        quantizer.update([quantizer(batch)])
        twin.update([twin(batch)])
    assert _equal(quantizer.state_dict(), twin.state_dict())


def test_warming_up_passes_features_through_then_starts_on_them():
    quantizer = VectorQuantizer(8, 4, learning=CodebookLearning(init="kmeans", warmup=2))
    x = torch.randn(50, 4)
    for _ in range(2):
        latent = quantizer(x)
        assert torch.equal(latent.z, x)
        assert latent.terms["commitment"].sum() == 0
        quantizer.update([latent])
    latent = quantizer(x)
    assert not torch.equal(latent.z, x)
    assert latent.code.unique().numel() == 8
    fresh = VectorQuantizer(8, 4, learning=CodebookLearning(init="kmeans", warmup=2)).eval()
    assert torch.equal(fresh(x).z, fresh.embed(fresh(x).code))  # eval always quantises


# State


def test_moving_state_is_in_buffers_and_eval_leaves_it_bit_identical():
    quantizer = _started()
    assert {"vectors", "counts", "sums", "idle", "updates"} == {
        name for name, _ in quantizer.codebook.named_buffers()
    }
    before = _state(quantizer)
    quantizer.eval()(torch.randn(9, 4))
    assert _equal(before, quantizer.state_dict())


def test_a_nan_never_enters_the_codebook():
    quantizer = _started()
    before = _state(quantizer)
    x = torch.randn(9, 4)
    x[2, 1] = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        quantizer.update([quantizer(x)])
    assert _equal(before, quantizer.state_dict())


def test_empty_batches_leave_the_codes_where_they_are():
    quantizer = VectorQuantizer(4, 2)
    quantizer.update([quantizer(torch.zeros(0, 2))])
    assert quantizer.codebook.updates == 0  # the start waits for data
    quantizer.update([])
    quantizer.update([quantizer(torch.randn(9, 2))])
    vectors = quantizer.codebook.vectors.clone()
    quantizer.update([quantizer(torch.zeros(0, 2))])
    assert torch.allclose(quantizer.codebook.vectors, vectors)


def test_under_autocast_search_and_averages_are_those_of_float32():
    plain, under = _started(), _started()
    x = torch.randn(50, 4)
    latent = plain(x)
    with torch.autocast("cpu", torch.bfloat16):
        same = under(x)
        under.update([same])
    plain.update([latent])
    assert torch.equal(latent.code, same.code)
    assert same.z.dtype == torch.float32
    assert _equal(plain.state_dict(), under.state_dict())


def test_a_codebook_converted_to_half_precision_learns_in_float32():
    plain, half = _started(), _started().bfloat16()
    x = torch.randn(50, 4).bfloat16()
    latent = half(x)
    assert latent.z.dtype == torch.bfloat16
    half.update([latent])
    plain.update([plain(x.float())])
    assert torch.equal(half.codebook.vectors, plain.codebook.vectors)


def test_cosine_codes_and_values_have_unit_length_and_ignore_scale():
    quantizer = _started(metric="cosine")
    x = torch.randn(30, 4)
    for _ in range(3):
        quantizer.update([quantizer(x)])
    latent = quantizer(x)
    assert torch.allclose(latent.z.norm(dim=-1), torch.ones(30), atol=1e-6)
    assert torch.equal(latent.code, quantizer(7.5 * x).code)
    cosine = torch.nn.functional.cosine_similarity(x[:, None], quantizer.codebook.vectors, dim=-1)
    assert torch.equal(latent.code, cosine.argmax(1))


@pytest.mark.parametrize("codebook", ["ema", "gradient"])
def test_it_compiles_without_graph_breaks_to_the_same_codes(codebook):
    quantizer = _started(codebook=codebook).eval()
    compiled = torch.compile(lambda x: quantizer(x).z, fullgraph=True, backend="aot_eager")
    x = torch.randn(6, 3, 4)
    with torch.no_grad():
        assert torch.equal(compiled(x), quantizer(x).z)


# Words


def test_training_without_update_is_reported_once():
    quantizer = _started()
    x = torch.randn(2, 4)
    for _ in range(99):
        quantizer(x)
    with pytest.warns(UserWarning, match=r"without update\(\)"):
        quantizer(x)
    for _ in range(200):
        quantizer(x)  # silent: a second warning would fail here
    updated = _started()
    for _ in range(150):
        updated.update([updated(x)])
    evaluated = _started().eval()
    for _ in range(150):
        evaluated(x)


def test_the_summary_is_over_the_whole_set_and_advice_follows_it():
    quantizer = _started()
    totals = {"counts": torch.zeros(16)}
    for batch in torch.randn(20, 8, 4):
        totals["counts"] += quantizer(batch).stats["counts"]
    summary = quantizer.summary(totals, 160)
    assert set(summary) == {"usage", "perplexity", "entropy_bits", "dead_codes"}
    assert summary["perplexity"] <= 16
    assert quantizer.advice(summary) == []
    collapsed = quantizer.summary({"counts": torch.eye(16)[0]}, 1)
    assert "6% of the 16 codes" in quantizer.advice(collapsed)[0]


def test_advice_offers_only_what_is_not_yet_set():
    collapsed = {"usage": 0.1, "dead_codes": 9.0, "perplexity": 1.0}
    all_set = VectorQuantizer(
        16, 4, learning=CodebookLearning(init="kmeans", warmup=5, revive_after=3)
    )
    assert not {"kmeans", "warmup", "revive_after"} & words(all_set.advice(collapsed)[0])
    none_set = VectorQuantizer(
        16, 4, learning=CodebookLearning(init="data", warmup=0, revive_after=None)
    )
    assert {"kmeans", "warmup", "revive_after"} <= words(none_set.advice(collapsed)[0])
    finite = FiniteScalarQuantizer([4, 4])
    assert not {"kmeans", "warmup", "revive_after"} & words(finite.advice(collapsed)[0])


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


def test_the_default_prior_costs_log_k_at_each_site():
    quantizer = _started()
    latent = quantizer(torch.randn(5, 3, 4))
    rate = quantizer.default_prior((3,)).rate(latent)
    assert torch.allclose(rate, torch.full((5,), 3 * math.log(16)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", 0), ("metric", "l1"), ("estimator", "gumbel"), ("commitment", -1.0),
    ],
)  # fmt: skip
def test_arguments_out_of_range_are_refused_at_construction(name, value):
    with pytest.raises(ValueError, match=name):
        VectorQuantizer(**{"size": 4, "dim": 2, name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("method", "sgd"), ("init", "zeros"), ("decay", 1.0), ("revive_after", 0), ("warmup", -1)],
)
def test_ways_of_learning_out_of_range_are_refused_at_construction(name, value):
    with pytest.raises(ValueError, match=name):
        CodebookLearning(**{name: value})


def test_codes_of_another_kind_are_refused():
    with pytest.raises(ValueError, match="integer indices"):
        _started().embed(torch.zeros(2, 4))


def test_it_learns_the_centres_of_well_separated_clusters():
    centres = torch.tensor(list(itertools.product([-5.0, 5.0], repeat=3)))
    quantizer = VectorQuantizer(8, 3, learning=CodebookLearning(init="kmeans"))
    torch.manual_seed(0)
    for _ in range(300):
        x = centres[torch.randint(8, (256,))] + 0.1 * torch.randn(256, 3)
        quantizer.update([quantizer(x)])
    assert torch.cdist(centres, quantizer.codebook.vectors).min(1).values.max() < 0.05
