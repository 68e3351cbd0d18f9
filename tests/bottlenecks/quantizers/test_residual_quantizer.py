import math
import warnings

import pytest
import torch

from narrows.bottlenecks import CodebookLearning, ResidualQuantizer, SimVQ, VectorQuantizer
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


def test_what_does_not_fit_is_refused():
    with pytest.raises(TypeError, match="expected a VectorQuantizer"):
        ResidualQuantizer(SimVQ(4, 2), 2)
    with pytest.raises(ValueError, match="euclidean"):
        ResidualQuantizer(VectorQuantizer(4, 2, metric="cosine"), 2)
    with pytest.raises(ValueError, match="stages >= 1"):
        ResidualQuantizer(VectorQuantizer(4, 2), 0)
    with pytest.raises(ValueError, match="1 to 2 stages"):
        ResidualQuantizer(VectorQuantizer(4, 2), 2).embed(torch.zeros(1, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="integer"):
        ResidualQuantizer(VectorQuantizer(4, 2), 2).embed(torch.zeros(1, 2))
