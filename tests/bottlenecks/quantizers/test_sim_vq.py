import pytest
import torch

from narrows.bottlenecks import CodebookLearning, SimVQ, VectorQuantizer
from narrows.testing import check_bottleneck


@pytest.mark.parametrize("estimator", ["straight_through", "rotation"])
def test_it_keeps_the_contract(estimator):
    check_bottleneck(SimVQ(64, 5, estimator=estimator))


def test_the_code_is_the_nearest_of_the_mapped_vectors():
    quantizer = SimVQ(40, 3)
    torch.nn.init.normal_(quantizer.linear)
    torch.nn.init.normal_(quantizer.offset)
    codes = quantizer.base.double() @ quantizer.linear.double() + quantizer.offset.double()
    x = torch.randn(200, 3)
    latent = quantizer(x)
    assert torch.equal(latent.code, torch.cdist(x.double(), codes).argmin(1))
    assert torch.allclose(latent.z.double(), codes[latent.code], atol=1e-6)


def test_only_the_map_is_learned_and_one_used_code_moves_all():
    quantizer = SimVQ(40, 3)
    assert {name for name, _ in quantizer.named_parameters()} == {"linear", "offset"}
    before = quantizer.codewords.detach().clone()
    x = quantizer.codewords[7].detach() + 0.05
    latent = quantizer(x[None])
    assert latent.code.item() == 7
    latent.terms["codebook"].sum().backward()
    with torch.no_grad():
        for part in quantizer.parameters():
            part -= 0.1 * part.grad
    moved = (quantizer.codewords - before).norm(dim=1)
    assert (moved > 0).all()
    assert (quantizer.codewords[7] - x).norm() < (before[7] - x).norm()


def test_each_term_moves_one_side():
    quantizer = SimVQ(40, 3)
    x = torch.randn(9, 3, requires_grad=True)
    latent = quantizer(x)
    (to_x,) = torch.autograd.grad(latent.terms["commitment"].sum(), x, retain_graph=True)
    assert torch.allclose(to_x, 2 * (x - latent.z).detach())
    with pytest.raises(RuntimeError, match=r"not require grad|not have been used"):
        torch.autograd.grad(latent.terms["commitment"].sum(), quantizer.linear, retain_graph=True)
    with pytest.raises(RuntimeError, match="not have been used"):
        torch.autograd.grad(latent.terms["codebook"].sum(), x)


def test_a_large_codebook_is_used_where_a_plain_one_is_not():
    # Features on a thin, shifted, curved sheet, as an encoder makes them.
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(4, 16, generator=generator)

    def features(n):
        return torch.tanh(torch.randn(n, 4, generator=generator) @ mix) + 0.5

    used = {}
    torch.manual_seed(0)
    plain = VectorQuantizer(
        1024, 16, learning=CodebookLearning(method="gradient", init="uniform", revive_after=None)
    )
    for quantizer in (SimVQ(1024, 16), plain):
        optimizer = torch.optim.Adam(quantizer.parameters(), lr=3e-3)
        for _ in range(400):
            loss = quantizer(features(512)).terms["codebook"].mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            quantizer.update([])
            quantizer._passes = 0
        counts = quantizer.eval()(features(20_000)).stats["counts"]
        used[type(quantizer).__name__] = quantizer.summary({"counts": counts}, 1)["usage"]
    assert used["SimVQ"] > 0.5, used
    assert used["VectorQuantizer"] < 0.1 * used["SimVQ"], used


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="size >= 1"):
        SimVQ(0, 3)
    with pytest.raises(ValueError, match="straight_through or rotation"):
        SimVQ(4, 3, estimator="gumbel")
    with pytest.raises(ValueError, match="integer"):
        SimVQ(4, 3).embed(torch.zeros(2))
