import pytest
import torch

from narrows.bottlenecks import SimVQ, VQBridge
from narrows.testing import check_bottleneck


@pytest.mark.parametrize("estimator", ["straight_through", "rotation"])
def test_it_keeps_the_contract(estimator):
    quantizer = VQBridge(16, 4, patch=4, hidden=8, estimator=estimator)
    check_bottleneck(quantizer, export=estimator == "rotation")


def test_it_begins_as_simvq_of_the_same_base():
    bridged, plain = VQBridge(16, 4, patch=4, hidden=8), SimVQ(16, 4)
    plain.load_state_dict({k: bridged.state_dict()[k] for k in plain.state_dict()})
    x = torch.randn(9, 4)
    assert torch.equal(bridged(x).z, plain(x).z)
    assert torch.equal(bridged.codewords, plain.codewords)


def test_a_step_for_one_code_moves_all_and_not_only_by_one_affine_map():
    torch.manual_seed(0)
    quantizer = VQBridge(64, 2, patch=4, hidden=16)
    optimizer = torch.optim.Adam(quantizer.parameters(), 1e-2)
    before = quantizer.codewords.detach()
    for _ in range(3):
        optimizer.zero_grad()
        quantizer(torch.full((1, 2), 0.7)).terms["codebook"].sum().backward()
        optimizer.step()
    moved = quantizer.codewords.detach()
    assert ((moved - before).norm(dim=1) > 0).all()
    affine = torch.cat([before, torch.ones(64, 1)], 1)
    left = moved - affine @ torch.linalg.lstsq(affine, moved).solution
    assert left.norm() > 1e-3


def test_one_code_is_all_there_is():
    quantizer = VQBridge(1, 2, patch=1, hidden=4)
    assert torch.equal(quantizer(torch.randn(5, 2)).code, torch.zeros(5, dtype=torch.int64))


@pytest.mark.parametrize("wrong", [{"patch": 5}, {"patch": 0}, {"hidden": 6}])
def test_what_does_not_divide_is_refused(wrong):
    with pytest.raises(ValueError, match="VQBridge: expected"):
        VQBridge(16, 4, **wrong)
