import dataclasses
import math
import warnings

import pytest
import torch

from narrows.bottlenecks import (
    Clamp,
    CodebookLearning,
    FiniteScalarQuantizer,
    LookupFreeQuantizer,
    Projected,
    ResidualQuantizer,
    Rounded,
    SimVQ,
    Split,
    VectorQuantizer,
    VQBridge,
)
from narrows.priors import AutoregressiveTransformer, PixelCNN
from narrows.testing import check_bottleneck


def _started(stages=3, **kwargs):
    own = {name: kwargs.pop(name) for name in ("shared", "dropout") if name in kwargs}
    options = {"init": "init", "decay": "decay", "codebook": "method"}
    given = {options[name]: kwargs.pop(name) for name in options if name in kwargs}
    learning = CodebookLearning(**({"revive_after": None} | given))
    stage = VectorQuantizer(**({"size": 16, "dim": 4} | kwargs), learning=learning)
    quantizer = ResidualQuantizer(stage, stages, **own)
    torch.manual_seed(0)
    quantizer.update([quantizer(torch.randn(200, 3, 4))])
    return quantizer


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_every_kind_keeps_the_contract(shared, dropout):
    for codebook in ("ema", "gradient"):
        stage = VectorQuantizer(16, 5, learning=CodebookLearning(method=codebook))
        check_bottleneck(ResidualQuantizer(stage, 3, shared=shared, dropout=dropout), export=False)


def test_coding_exports():
    check_bottleneck(ResidualQuantizer(VectorQuantizer(16, 5), 3))


def test_each_stage_takes_the_code_nearest_to_what_is_left():
    quantizer = _started().eval()
    x = torch.randn(50, 4)
    latent = quantizer(x)
    left = x
    for s in range(3):
        vectors = quantizer.quantizers[s].codebook.vectors
        index = torch.cdist(left.double(), vectors.double()).argmin(1)
        assert torch.equal(latent.code[:, s], index)
        left = left - vectors[index]
    assert torch.allclose(latent.z, x - left, atol=1e-6)


def test_every_stage_lowers_the_error_and_prefixes_decode():
    quantizer = _started(init="kmeans")
    x = torch.randn(500, 4)
    code = quantizer(x).code
    errors = [(x - quantizer.embed(code[:, :n])).square().mean().item() for n in (1, 2, 3)]
    assert errors[0] > 1.5 * errors[1] > 2 * errors[2]


def test_one_stage_is_a_vector_quantizer():
    torch.manual_seed(0)
    stage = VectorQuantizer(8, 4, learning=CodebookLearning(revive_after=1))
    one = ResidualQuantizer(stage, 1)
    for batch in torch.randn(5, 20, 4):
        latent, expected = one(batch), stage(batch)
        assert torch.equal(latent.z, expected.z)
        assert torch.equal(latent.code[..., 0], expected.code)
        assert torch.equal(latent.terms["commitment"], expected.terms["commitment"])
        one.update([latent])
        stage.update([expected])
    assert torch.equal(one.quantizers[0].codebook.vectors, stage.codebook.vectors)


def test_stages_start_apart_and_each_on_what_the_one_before_leaves_over():
    quantizer = _started(init="data")
    x = torch.randn(600, 4)
    latent = quantizer(x)
    used = [(counts > 0).sum().item() for counts in latent.stats["counts"]]
    assert min(used) >= 14  # a stage that had started on x itself would use few of its codes
    first, second = (quantizer.quantizers[s].codebook.vectors for s in (0, 1))
    assert second.norm(dim=1).mean() < 0.8 * first.norm(dim=1).mean()


def test_residuals_carry_no_gradient_from_stage_to_stage():
    quantizer = _started(codebook="gradient")
    x = torch.randn(7, 4, requires_grad=True)
    latent = quantizer(x)
    left, expected = x.detach(), torch.zeros(7, 4)
    for s in range(3):
        vectors = quantizer.quantizers[s].codebook.vectors.detach()
        left = left - vectors[latent.code[:, s]]
        expected += 2 * left
    (got,) = torch.autograd.grad(latent.terms["commitment"].sum(), x, retain_graph=True)
    assert torch.allclose(got, expected, atol=1e-5)
    for s in range(3):
        vectors = quantizer.quantizers[s].codebook.vectors
        (got,) = torch.autograd.grad(latent.terms["codebook"].sum(), vectors, retain_graph=True)
        assert (got.norm(dim=1) > 0).nonzero().flatten().tolist() == sorted(
            set(latent.code[:, s].tolist())
        )


def test_dropout_keeps_every_number_of_stages_and_marks_the_rest():
    quantizer = _started(dropout=1.0)
    x = torch.randn(3000, 4)
    latent = quantizer(x)
    kept = (latent.code >= 0).sum(1)
    for n in (1, 2, 3):  # uniform: also the last stage is reached
        assert (kept == n).double().mean().item() == pytest.approx(1 / 3, abs=0.04)
    assert torch.equal(latent.z, quantizer.embed(latent.code))
    one = latent.code[kept == 1]
    assert (one[:, 1:] == -1).all()
    assert torch.equal(latent.stats["counts"].sum(1), (latent.code >= 0).sum(0))
    rate = quantizer.default_prior(()).rate(latent)
    assert torch.allclose(rate, kept * math.log(16))
    assert (quantizer.eval()(x).code >= 0).all()


def test_stages_that_were_dropped_teach_nothing():
    plain, dropped = _started(), _started(dropout=1.0)
    dropped.load_state_dict(plain.state_dict())
    x = torch.randn(40, 4)
    latent = dropped(x)
    dropped.update([latent])
    kept = (latent.code >= 0).sum(1)
    residual = x.clone()
    for s in range(3):
        sent = kept > s
        codebook = plain.quantizers[s].codebook
        part = codebook.vectors[latent.code[:, s].clamp_min(0)].clone()
        codebook.update(residual[sent], latent.code[sent, s])
        residual = residual - part
        assert torch.allclose(codebook.sums, dropped.quantizers[s].codebook.sums, atol=1e-6)
        assert torch.equal(codebook.counts, dropped.quantizers[s].codebook.counts)


def test_a_shared_codebook_learns_from_all_stages():
    quantizer = _started(shared=True, decay=0.0)
    assert len(quantizer.quantizers) == 1
    x = torch.randn(30, 4)
    latent = quantizer(x)
    before = quantizer.quantizers[0].codebook.vectors.clone()
    quantizer.update([latent])
    totals, counts, left = torch.zeros(16, 4), torch.zeros(16), x
    for s in range(3):
        totals.index_add_(0, latent.code[:, s], left)
        counts += latent.stats["counts"][s]
        left = left - before[latent.code[:, s]]
    expected = torch.where((counts > 0)[:, None], totals / counts[:, None], before)
    assert torch.allclose(quantizer.quantizers[0].codebook.vectors, expected, atol=1e-5)


def test_warming_up_passes_features_through():
    stage = VectorQuantizer(8, 4, learning=CodebookLearning(init="kmeans", warmup=1))
    quantizer = ResidualQuantizer(stage, 2)
    x = torch.randn(60, 4)
    latent = quantizer(x)
    assert torch.equal(latent.z, x)
    quantizer.update([latent])
    latent = quantizer(x)
    assert torch.equal(latent.z, quantizer.embed(latent.code))
    assert latent.terms["commitment"].mean() < 2 * 4


def test_the_codes_are_those_of_vector_quantize_pytorch():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = pytest.importorskip("vector_quantize_pytorch")
    theirs = peer.ResidualVQ(dim=4, num_quantizers=3, codebook_size=16, rotation_trick=False).eval()
    quantizer = _started().eval()
    for s in range(3):
        theirs.layers[s]._codebook.embed.copy_(quantizer.quantizers[s].codebook.vectors[None])
    x = torch.randn(200, 5, 4)
    quantized, index, _ = theirs(x)
    latent = quantizer(x)
    assert torch.equal(index, latent.code)
    assert torch.allclose(quantized, latent.z, atol=1e-5)


def test_the_summary_is_the_mean_over_stages():
    quantizer = _started(stages=2)
    counts = torch.stack([torch.ones(16), torch.eye(16)[0] * 16])
    summary = quantizer.summary({"counts": counts}, 16)
    assert summary == pytest.approx(
        {"usage": 17 / 32, "perplexity": 4.0, "entropy_bits": 2.0, "dead_codes": 15.0}
    )


def unlike(**options):
    """Stages of several kinds and sizes; 12, 6, 36 and 16 codes."""
    stages = [
        Projected(VectorQuantizer(12, 2, metric="cosine"), 4),
        VectorQuantizer(6, 4),
        FiniteScalarQuantizer([3, 3, 2, 2], Clamp(), scale=0.5),
        LookupFreeQuantizer(4),
    ]
    return ResidualQuantizer(stages, **options)


KINDS = {
    "vq": lambda: VectorQuantizer(8, 4),
    "simvq": lambda: SimVQ(8, 4),
    "vqbridge": lambda: VQBridge(8, 4, patch=2, hidden=8),
    "fsq": lambda: FiniteScalarQuantizer([3, 2, 3, 2]),
    "lfq": lambda: LookupFreeQuantizer(4),
    "unit codes": lambda: Projected(VectorQuantizer(8, 2, metric="cosine"), 4),
}


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_unlike_stages_keep_the_contract(dropout):
    check_bottleneck(unlike(dropout=dropout), export=dropout == 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shared", [False, True])
def test_stages_of_every_kind_keep_the_contract(kind, shared):
    check_bottleneck(ResidualQuantizer(KINDS[kind](), 3, shared=shared), export=False)


@pytest.mark.parametrize("kind", KINDS)
def test_one_stage_of_any_kind_is_that_stage(kind):
    torch.manual_seed(0)
    stage = KINDS[kind]()
    one = ResidualQuantizer(stage, 1)
    for batch in torch.randn(3, 20, 4):
        x, y = batch.clone().requires_grad_(), batch.clone().requires_grad_()
        latent, expected = one(x), stage(y)
        assert torch.equal(latent.z, expected.z)
        assert torch.equal(latent.code[..., 0], expected.code)
        for name, term in expected.terms.items():
            assert torch.equal(latent.terms[name], term)
        latent.z.square().sum().backward()
        expected.z.square().sum().backward()
        assert torch.allclose(x.grad, y.grad)
        one.update([latent])
        stage.update([expected])
    for name, value in stage.state_dict().items():
        assert torch.equal(one.quantizers[0].state_dict()[name], value)


def test_unlike_stages_sum_to_z_and_every_prefix_decodes():
    quantizer = unlike().eval()
    x = torch.randn(50, 4)
    latent = quantizer(x)
    left, total = x, torch.zeros_like(x)
    for s, stage in enumerate(quantizer.quantizers):
        assert torch.equal(latent.code[:, s], stage(left).code)
        part = stage.embed(latent.code[:, s])
        left, total = left - part, total + part
        assert torch.allclose(quantizer.embed(latent.code[:, : s + 1]), total, atol=1e-6)
    assert torch.allclose(latent.z, total, atol=1e-6)


def test_unlike_stages_start_each_on_what_the_one_before_leaves_over():
    learning = CodebookLearning(init="kmeans", revive_after=None)
    stages = [VectorQuantizer(8, 2, learning=learning) for _ in range(2)]
    quantizer = ResidualQuantizer([Projected(stages[0], 4), Projected(stages[1], 4)])
    x = torch.randn(300, 4)
    quantizer.update([quantizer(x)])
    first = quantizer.quantizers[0]
    left = x - first.eval()(x).z
    expected = Projected(VectorQuantizer(8, 2, learning=learning), 4)
    expected.load_state_dict(quantizer.quantizers[1].state_dict())
    expected.quantizer.codebook.updates.zero_()
    expected.update([expected(left)])
    assert torch.allclose(expected.quantizer.codewords, stages[1].codewords, atol=1e-5)


def test_gradients_through_projections_are_those_of_the_chain_of_stages():
    stages = [Projected(VectorQuantizer(8, 2), 4) for _ in range(3)]
    quantizer = ResidualQuantizer(stages)
    x = torch.randn(6, 4, requires_grad=True)
    pull = torch.randn(6, 4)
    quantizer(x).z.backward(pull)
    rest = torch.eye(4)
    for stage in stages:  # what each leaves over is I - V U of what it was given
        rest = (torch.eye(4) - stage.outward.weight @ stage.inward.weight) @ rest
    assert torch.allclose(x.grad, pull @ (torch.eye(4) - rest), atol=1e-5)
    assert all(parameter.grad is not None for parameter in quantizer.parameters())


def test_finite_scalar_stages_of_falling_scale_are_one_finer_grid():
    stages = [FiniteScalarQuantizer([3, 3], Clamp(), scale=2.0**-s) for s in range(4)]
    quantizer = ResidualQuantizer(stages).eval()
    x = 3.6 * torch.rand(500, 2) - 1.8
    z = quantizer(x).z
    assert torch.allclose(z, (x * 8).round() / 8, atol=1e-6)  # steps of 2^-3 in +-15/8


def test_finite_scalar_stages_are_those_of_vector_quantize_pytorch():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = pytest.importorskip("vector_quantize_pytorch")
    levels = [5, 3, 4]
    theirs = peer.ResidualFSQ(levels=levels, num_quantizers=3).eval()
    x = torch.randn(2, 100, 3)
    reach = 1 + 1 / (torch.tensor(levels) - 1)
    inside = (x / reach).tanh() * reach  # they bound the input once; their scale is by dimension
    left, total = inside, 0.0
    for s in range(3):
        parts = [FiniteScalarQuantizer([n], Clamp(), scale=float(n) ** -s) for n in levels]
        part = Split(parts).eval()(left).z
        left, total = left - part, total + part
    quantized, _ = theirs(x)
    assert torch.allclose(quantized, total, atol=1e-5)


def test_groups_of_residual_stages_are_made_with_split():
    groups = Split([ResidualQuantizer(VectorQuantizer(8, 2), 3) for _ in range(2)]).eval()
    x = torch.randn(20, 4)
    latent = groups(x)
    for group, half, code in zip(groups.parts, x.chunk(2, 1), latent.code, strict=True):
        assert torch.equal(group(half).code, code)
    coarse = groups.embed(tuple(code[:, :1] for code in latent.code))
    assert (x - latent.z).square().sum() < (x - coarse).square().sum()


@pytest.mark.parametrize(("stage", "bound"), [(0, 11), (1, 5), (2, 35), (3, 15)])
def test_an_index_out_of_range_in_any_stage_is_refused(stage, bound):
    quantizer = unlike()
    code = quantizer(torch.randn(3, 4)).code
    code[1, stage] = bound
    quantizer.embed(code)
    code[1, stage] = bound + 1
    with pytest.raises(ValueError, match=rf"0\.\.{bound}|-1\.\.{bound}"):
        quantizer.embed(code)


def test_priors_know_the_size_of_each_stage():
    quantizer = unlike().eval()
    sizes = torch.tensor([12.0, 6.0, 36.0, 16.0])
    latent = quantizer(torch.randn(7, 2, 3, 4))
    uniform = quantizer.default_prior((2, 3))
    assert torch.allclose(uniform.rate(latent), 6 * sizes.log().sum())
    learned = [PixelCNN, AutoregressiveTransformer]
    made = [kind.for_codes(quantizer.codes, (2, 3), hidden=8) for kind in learned]
    moving = quantizer.moving_prior((2, 3))
    moving.update([latent])
    for prior in (uniform, uniform.fit([latent]), moving, *made):
        code = prior.sample(50)
        quantizer.embed(code)  # every index means something
        prior.check_fits(quantizer.codes, (2, 3))
        assert prior.rate(latent).isfinite().all()
        with pytest.raises(ValueError, match="channel 1"):
            prior.rate(dataclasses.replace(latent, code=torch.full_like(latent.code, 7)))
    total = sum(uniform.log_probs[c, : int(k)].exp().sum() for c, k in enumerate(sizes))
    assert total == pytest.approx(4.0)


def test_terms_that_stages_weigh_differently_are_told_apart():
    stages = [VectorQuantizer(4, 2), VectorQuantizer(4, 2, commitment=1.0)]
    quantizer = ResidualQuantizer(stages)
    assert quantizer.weights == {"0.commitment": 0.25, "1.commitment": 1.0}
    terms = quantizer(torch.randn(5, 2)).terms
    assert set(terms) == set(quantizer.weights)


def test_copies_of_a_stage_differ_from_each_other():
    for stage in (SimVQ(8, 2), Projected(VectorQuantizer(8, 2, seed=3), 4)):
        quantizer = ResidualQuantizer(stage, 3)
        one, two, three = (part.codewords for part in quantizer.quantizers)
        assert not torch.equal(one, two)
        assert not torch.equal(two, three)
    assert [part.quantizer.codebook.seed for part in quantizer.quantizers] == [3, 4, 5]


def test_what_does_not_fit_is_refused():
    with pytest.raises(TypeError, match="expected stage to be an Indexed"):
        ResidualQuantizer(Rounded(4), 2)
    with pytest.raises(TypeError, match="noise=0"):
        ResidualQuantizer(FiniteScalarQuantizer([4, 4], noise=0.5), 2)
    with pytest.raises(ValueError, match="one width"):
        ResidualQuantizer([VectorQuantizer(4, 2), VectorQuantizer(4, 3)])
    with pytest.raises(ValueError, match="one width"):
        ResidualQuantizer([])
    for options in ({"stages": 3}, {"shared": True}, {"dropout": 2.0}):
        with pytest.raises(ValueError, match="their number and shared=False"):
            ResidualQuantizer([VectorQuantizer(4, 2), VectorQuantizer(4, 2)], **options)
    for unit in (VectorQuantizer(4, 2, metric="cosine"), LookupFreeQuantizer(2, spherical=True)):
        with pytest.raises(ValueError, match="Projected"):
            ResidualQuantizer(unit, 2)
    with pytest.raises(ValueError, match="stages >= 1"):
        ResidualQuantizer(VectorQuantizer(4, 2), 0)
    with pytest.raises(ValueError, match="1 to 2 stages"):
        ResidualQuantizer(VectorQuantizer(4, 2), 2).embed(torch.zeros(1, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="integer"):
        ResidualQuantizer(VectorQuantizer(4, 2), 2).embed(torch.zeros(1, 2))
