import warnings

import pytest
import torch
from torch.nn import functional as F

from narrows.bottlenecks import (
    CodebookLearning,
    FiniteScalarQuantizer,
    LookupFreeQuantizer,
    Projected,
    ResidualQuantizer,
    SimVQ,
    Split,
    VectorQuantizer,
)
from narrows.testing import check_bottleneck

QUANTIZERS = {
    "vq": lambda: VectorQuantizer(16, 3),
    "unit codes": lambda: VectorQuantizer(16, 3, metric="cosine"),
    "gradient": lambda: VectorQuantizer(16, 3, learning=CodebookLearning("gradient")),
    "fsq": lambda: FiniteScalarQuantizer([4, 4]),
    "lfq": lambda: LookupFreeQuantizer(4, spherical=True),
    "simvq": lambda: SimVQ(16, 3),
    "wider": lambda: VectorQuantizer(16, 8),
}


@pytest.mark.parametrize("name", QUANTIZERS)
def test_it_keeps_the_contract_around_every_quantiser(name):
    check_bottleneck(Projected(QUANTIZERS[name](), 5), export=name == "unit codes")


@pytest.mark.parametrize("name", QUANTIZERS)
def test_it_is_two_maps_around_the_quantiser(name):
    projected = Projected(QUANTIZERS[name](), 5).eval()
    x = torch.randn(40, 5)
    inner = projected.quantizer(projected.inward(x))
    latent = projected(x)
    assert torch.equal(latent.code, inner.code)
    assert torch.allclose(latent.z, projected.outward(inner.z), atol=1e-6)


def test_at_full_width_it_begins_as_the_quantiser_behind_a_rotation():
    inner = VectorQuantizer(8, 4)
    projected = Projected(inner, 4).eval()
    x = torch.randn(30, 4)
    own = torch.cdist(x, inner.codewords @ projected.inward.weight).argmin(1)
    assert torch.equal(projected(x).code, own)
    assert torch.equal(projected.assign(x), own)


def test_unit_codes_are_found_by_cosine_and_have_length_one():
    projected = Projected(VectorQuantizer(16, 3, metric="cosine"), 6).eval()
    x = torch.randn(50, 6)
    projected.update([projected(x)])
    codes = projected.quantizer.codewords
    assert torch.allclose(codes.norm(dim=1), torch.ones(16))
    cosine = F.cosine_similarity(projected.inward(x)[:, None], codes[None], dim=-1)
    assert torch.equal(projected(x).code, cosine.argmax(1))


def test_both_maps_learn_from_what_comes_after():
    projected = Projected(VectorQuantizer(16, 3), 5)
    projected(torch.randn(20, 5)).z.sum().backward()
    for parameter in projected.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("cosine", [False, True])
def test_codes_are_those_of_vector_quantize_pytorch(cosine):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = pytest.importorskip("vector_quantize_pytorch")
    theirs = peer.VectorQuantize(
        dim=6, codebook_dim=3, codebook_size=16, use_cosine_sim=cosine, rotation_trick=False
    ).eval()
    inner = VectorQuantizer(16, 3, metric="cosine" if cosine else "euclidean")
    inner.set_codewords(torch.randn(16, 3))
    ours = Projected(inner, 6).eval()
    theirs._codebook.embed.copy_(inner.codewords[None])
    theirs.project_in.load_state_dict(ours.inward.state_dict())
    theirs.project_out.load_state_dict(ours.outward.state_dict())
    x = torch.randn(3, 50, 6)
    quantized, index, _ = theirs(x)
    latent = ours(x)
    assert torch.equal(latent.code, index)
    assert torch.allclose(latent.z, quantized, atol=1e-5)


def test_what_makes_no_single_index_is_refused():
    for part in (Split([SimVQ(4, 1), SimVQ(4, 1)]), ResidualQuantizer(SimVQ(4, 2), 2)):
        with pytest.raises(TypeError, match="expected quantizer to be an Indexed such as"):
            Projected(part, 4)
