"""Held to others' code and published numbers."""

import warnings

import pytest
import torch

from narrows.bottlenecks import CodebookLearning, VectorQuantizer


def test_the_moving_average_gives_torchmultimodals_published_example():
    # Inputs and expected numbers of test_ema_update_embedding in torchmultimodal's
    # tests/modules/layers/test_codebook.py (Meta, BSD), decay 0.3, counts starting at 1.
    features = torch.tensor(
        [
            [[-1, 0, 1], [2, 1, 0], [0, -1, -1], [0, 2, -1], [-2, -1, 1]],
            [[2, 2, -1], [1, -1, -2], [0, 0, 0], [1, 2, 1], [1, 0, 0]],
        ],
        dtype=torch.float32,
    ).transpose(1, 2)
    start = torch.tensor(
        [[2, -1, 0, 2, 0], [2, 1, 0, 1, 1], [0, 1, -1, 2, -1], [1, 0, -1, -1, 1]]
    ).float()
    quantizer = VectorQuantizer(
        4, 5, learning=CodebookLearning(init="uniform", decay=0.3, revive_after=None)
    )
    codebook = quantizer.codebook
    codebook.vectors.copy_(start)
    codebook.sums.copy_(start)
    quantizer.update([quantizer(features)])
    vectors = [
        [0.7647, -1.4118, 0.0, 1.5882, 0.0],
        [2.0, 1.0, 0.0, 1.0, 1.0],
        [-0.4118, 1.4118, -0.5882, 1.1765, -1.4118],
        [1.0, 0.0, -1.0, -1.0, 1.0],
    ]
    sums = [
        [1.3, -2.4, 0.0, 2.7, 0.0],
        [2.0, 1.0, 0.0, 1.0, 1.0],
        [-0.7, 2.4, -1.0, 2.0, -2.4],
        [1.0, 0.0, -1.0, -1.0, 1.0],
    ]
    # The published numbers have four decimals.
    assert torch.allclose(codebook.vectors, torch.tensor(vectors), rtol=0, atol=1e-4)
    assert torch.allclose(codebook.sums, torch.tensor(sums), rtol=0, atol=1e-4)
    assert torch.allclose(codebook.counts, torch.tensor([1.7, 1.0, 1.7, 1.0]), rtol=0, atol=1e-4)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_it_agrees_with_vector_quantize_pytorch_over_100_steps(metric):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = pytest.importorskip("vector_quantize_pytorch")
    torch.manual_seed(0)
    mixture = torch.randn(32, 8) * 2
    theirs = peer.VectorQuantize(
        8, 32, decay=0.9, eps=1e-12, commitment_weight=1.0, rotation_trick=False,
        threshold_ema_dead_code=0, use_cosine_sim=metric == "cosine",
    )  # fmt: skip
    ours = VectorQuantizer(
        32,
        8,
        learning=CodebookLearning(init="uniform", decay=0.9, revive_after=None),
        metric=metric,
        commitment=1.0,
    )
    start = mixture + 0.3 * torch.randn(32, 8)
    start = torch.nn.functional.normalize(start, dim=1) if metric == "cosine" else start
    for buffer in (
        theirs._codebook.embed, theirs._codebook.embed_avg,
        ours.codebook.vectors, ours.codebook.sums,
    ):  # fmt: skip
        buffer.copy_(start)
    theirs._codebook.cluster_size.fill_(1)
    drift = 0.0
    for _ in range(100):
        x = mixture[torch.randint(32, (4, 300))] + 0.5 * torch.randn(4, 300, 8)
        one, two = x.clone().requires_grad_(), x.clone().requires_grad_()
        quantized, index, loss = theirs(one)
        latent = ours(two)
        assert torch.equal(index, latent.code)
        assert torch.allclose(quantized, latent.z, atol=1e-5)
        mean = latent.terms["commitment"].sum() / x.numel()
        assert torch.allclose(loss.squeeze(), mean, rtol=1e-4)
        (quantized.square().sum() + 100 * loss.sum()).backward()
        (latent.z.square().sum() + 100 * mean).backward()
        assert torch.allclose(one.grad, two.grad, atol=1e-4)
        ours.update([latent])
        drift = max(drift, (theirs._codebook.embed[0] - ours.codebook.vectors).abs().max().item())
    # Both hold float32 sums; a hundred roundings of numbers of size 5.
    assert drift < 5e-6
    assert (ours.codebook.vectors - start).abs().max() > 0.1
