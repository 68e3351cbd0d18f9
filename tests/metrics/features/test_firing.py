"""What a sparse code explains and how it fires, on dictionaries whose numbers are known."""

import pytest
import torch

import narrows as nw
from narrows.metrics import Firing, firing

D = 4


def axes(k: int, size: int = 2 * D) -> nw.Autoencoder:
    """A dictionary of the axes; the other atoms are diagonal. Encoder and decoder do nothing."""
    bottleneck = nw.SparseDictionary(size, D, coder=nw.OMP(k))
    model = nw.Autoencoder.for_vectors(D, bottleneck, network=nw.networks.Mlp(hidden=()))
    corner = torch.full((size - D, D), 0.5) * torch.tensor([1.0, 1.0, 1.0, -1.0])
    with torch.no_grad():
        bottleneck.dictionary.copy_(torch.cat([torch.eye(D), corner]))
        for part in (model.encoder, model.decoder):
            for layer in part.modules():
                if isinstance(layer, torch.nn.Linear):
                    layer.weight.copy_(torch.eye(D))
                    layer.bias.zero_()
    return model.eval()


def test_a_dictionary_that_holds_everything_explains_everything():
    x = torch.randn(500, D, generator=torch.Generator().manual_seed(0))
    found = firing(axes(D), x, batch_size=64)
    assert found.explained == pytest.approx(1, abs=1e-6)
    assert found.cosine == pytest.approx(1, abs=1e-6)
    assert found.norm_ratio == pytest.approx(1, abs=1e-5)
    assert found.l0 == pytest.approx(4, abs=0.01)


def test_one_axis_an_example_gives_the_numbers_of_the_formulas():
    generator = torch.Generator().manual_seed(1)
    axis = torch.randint(3, (400,), generator=generator)  # the fourth axis never
    x = torch.eye(D)[axis] * (1 + torch.rand(400, 1, generator=generator))
    x += 0.01 * torch.randn(400, D, generator=generator)
    found = firing(axes(1), x, batch_size=128)
    y = torch.zeros_like(x).scatter(1, axis[:, None], x.gather(1, axis[:, None]))
    left = (x - y).square().sum() / (x - x.mean(0)).square().sum()
    assert found.explained == pytest.approx(1 - left.item(), abs=1e-6)
    assert found.norm_ratio == pytest.approx((y.norm(dim=1) / x.norm(dim=1)).mean().item())
    assert found.l0 == 1
    assert torch.equal(found.rates[:3], axis.bincount(minlength=3) / 400)
    assert found.rates[3:].tolist() == [0] * 5
    assert found.dead == 5 / 8
    assert found.dense == 3 / 8


def test_the_mean_of_each_feature_explains_nothing():
    # One atom along the mean, and no other: a large offset is no merit of the dictionary.
    x = torch.randn(300, D, generator=torch.Generator().manual_seed(2))
    x -= x.mean(0)
    x[:, 0] = 100
    assert firing(axes(1), x).explained == pytest.approx(0, abs=1e-3)


def test_the_histogram_counts_living_atoms_by_their_rate():
    rates = torch.tensor([0, 0.002, 0.02, 0.5, 1.0])
    found = Firing(0, 0, 0, 0, rates, 1000)
    counts, edges = found.histogram(3)
    assert counts.tolist() == [1, 1, 2]
    assert edges.tolist() == pytest.approx([-3, -2, -1, 0])
    assert found.figures()["dead"] == pytest.approx(0.2)


def test_examples_without_variance_and_other_codes_are_refused():
    with pytest.raises(ValueError, match="two examples that differ"):
        firing(axes(1), torch.ones(5, D))
    other = nw.Autoencoder.for_vectors(D, nw.Identity(2), network=nw.networks.Mlp(hidden=()))
    with pytest.raises(ValueError, match="a code of atoms"):
        firing(other, torch.randn(5, D))
