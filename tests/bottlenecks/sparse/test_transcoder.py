"""Sparse codes of one vector that give another: what they find, and what they never see."""

import pytest
import torch

import narrows as nw
from narrows.bottlenecks.sparse.learned.untied import Affine
from narrows.metrics import cosines, directions, firing, matching
from tests.bottlenecks.sparse.test_learned_coders import CODERS

INPUTS, OUTPUTS, SIZE = 8, 5, 24


def _made(name="top-k", **options):
    torch.manual_seed(0)
    return nw.Transcoder(SIZE, INPUTS, outputs=OUTPUTS, coder=CODERS[name](), **options)


def _model(bottleneck, inputs=INPUTS):
    width = bottleneck.in_features
    return nw.Autoencoder.for_vectors(width, bottleneck, network=nw.Pairs(inputs))


@pytest.mark.parametrize("name", [name for name in CODERS if name != "signed top-k"])
def test_a_transcoder_keeps_the_contract(name):
    nw.testing.check_bottleneck(_made(name), export=name == "top-k")


@pytest.mark.parametrize("name", ["top-k", "batch top-k", "jump-relu", "gated"])
def test_codes_and_z_do_not_depend_on_the_target(name):
    bottleneck = _made(name)
    pairs = torch.randn(64, INPUTS + OUTPUTS)
    for _ in range(3):
        bottleneck.update([bottleneck(pairs)])
    other = torch.cat([pairs[:, :INPUTS], torch.randn(64, OUTPUTS)], 1)
    for mode in (True, False):
        one, two = (bottleneck.train(mode)(x) for x in (pairs, other))
        assert torch.equal(one.code.atoms, two.code.atoms)
        assert torch.equal(one.z, two.z)
        assert not torch.equal(one.terms["dictionary"], two.terms["dictionary"])


def _world(n=6000, seed=0):
    """Two of 16 orthonormal features are active; a linear map A takes x to y."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.linalg.qr(torch.randn(16, 16, generator=generator)).Q
    linear = torch.randn(12, 16, generator=generator) / 4
    active = torch.rand(n, 16, generator=generator).topk(2).indices
    sizes = 1 + torch.rand(n, 2, generator=generator)
    x = torch.zeros(n, 16).scatter(1, active, sizes) @ features
    return x, x @ linear.T, features @ linear.T


@pytest.mark.parametrize("coder", [
    nw.AuxK(nw.Untied(nw.TopK(2, refit=False, nonnegative=True))),
    pytest.param(
        nw.AuxK(nw.Untied(nw.BatchTopK(2, refit=False, nonnegative=True))), marks=pytest.mark.slow
    ),
])  # fmt: skip
def test_a_known_linear_map_is_found_feature_by_feature(coder):
    x, y, truth = _world()
    data = nw.data.pairs(100 * x + 7, 3 * y - 50)  # units and offsets of their own
    torch.manual_seed(0)
    model = _model(nw.Transcoder(32, 16, outputs=12, coder=coder), inputs=16)
    optimization = nw.Optimization(learning_rate=5e-3)
    run = nw.fit(model, data, epochs=18, batch_size=100, optimization=optimization, show=False)
    assert run.test["nmse"] < 0.06
    pairs = matching(directions(model, atoms=range(32)), truth)
    assert pairs.mean > 0.9
    # What the code gives is A x, which no target is needed for; `reconstruct` rounds values.
    held = data.test.images
    given = model.reconstruct(held[:, :16])
    assert torch.equal(given, model.reconstruct(held))
    error = (given - held[:, 16:]).square().sum() / (held - held.mean(0))[:, 16:].square().sum()
    assert 1 - error.item() == pytest.approx(firing(model, data.test).explained, abs=0.01)
    best = cosines(given - given.mean(0), held[:, 16:] - held[:, 16:].mean(0)).diagonal()
    assert best.mean() > 0.95


def test_measures_are_those_of_the_target():
    x, y = torch.randn(400, 4), torch.randn(400, 3) * torch.tensor([1.0, 2.0, 3.0])
    data = nw.data.pairs(1000 * x, y)
    values = data.train.images[:, 4:].double()
    assert data.variance == pytest.approx(values.var(0, correction=0).mean().item())
    coder = nw.Untied(nw.TopK(1, refit=False, nonnegative=True))
    model = _model(nw.Transcoder(8, 4, outputs=3, coder=coder), inputs=4)
    run = nw.fit(model, data, epochs=1, show=False)
    held = data.test.images
    error = (model.reconstruct(held) - held[:, 4:]).square().mean().item()
    assert run.test["mse"] == pytest.approx(error, rel=1e-4)
    assert run.test["nmse"] == pytest.approx(error / data.variance, rel=1e-4)
    bits = run.test["bits_per_example"]
    assert run.test["bits_per_dimension"] == pytest.approx(bits / 3)


def test_it_is_saved_and_goes_through_files(tmp_path):
    data = nw.data.pairs(torch.randn(300, INPUTS), torch.randn(300, OUTPUTS))
    model = _model(_made())
    nw.fit(model, data, epochs=1, out=tmp_path / "run", show=False)
    again, held = nw.Autoencoder.load(tmp_path / "run"), data.test.images
    assert torch.equal(again.reconstruct(held), model.reconstruct(held))
    codec = nw.Codec(model)
    assert torch.allclose(codec.decompress(codec.compress(held)), model.reconstruct(held))


def test_dead_atoms_come_back_with_encoders_that_find_their_inputs():
    bottleneck = _made("relu").train()
    pairs = torch.randn(256, INPUTS + OUTPUTS)
    bottleneck.update([bottleneck(pairs)])  # starts from data
    assert isinstance(bottleneck.learned, Affine)
    encoder = bottleneck.learned.weight.detach()
    inputs = (pairs[:, :INPUTS] - bottleneck.input_centre) / bottleneck.input_scale
    targets = (pairs[:, INPUTS:] - bottleneck.centre) / bottleneck.scale
    nearest = cosines(encoder, inputs).max(1)
    assert nearest.values.min() > 0.999
    own = cosines(bottleneck.atoms.detach(), targets)[torch.arange(SIZE), nearest.indices]
    assert own.min() > 0.999


def test_what_does_not_fit_is_refused():
    with pytest.raises(TypeError, match="needs an encoder"):
        nw.Transcoder(8, 4, outputs=3, coder=nw.OMP(2))
    with pytest.raises(ValueError, match="inputs >= 1"):
        nw.Transcoder(8, 0, outputs=3, coder=nw.ReLU())
    with pytest.raises(ValueError, match="have no target"):
        nw.Autoencoder.for_vectors(8, _made(), network=nw.Pairs(8))
    with pytest.raises(ValueError, match="Transcoder\\(inputs=8, outputs=4\\)"):
        nw.Autoencoder.for_vectors(12, _made(), network=nw.Pairs(8))
    with pytest.raises(TypeError, match="codes all of its features"):
        nw.Autoencoder.for_vectors(8, nw.Variational(4), network=nw.Pairs(4))  # would see y
    with pytest.raises(TypeError, match="passes on no inputs"):
        nw.Autoencoder.for_vectors(13, _made(), network=nw.Mlp())
    with pytest.raises(TypeError, match="vectors \\(x, y\\)"):
        nw.Autoencoder((3, 4), _made(), network=nw.Pairs(8))
    with pytest.raises(ValueError, match="one for each"):
        nw.data.pairs(torch.randn(5, 3), torch.randn(6, 3))
    data = nw.data.pairs(torch.randn(100, INPUTS), torch.randn(100, OUTPUTS))
    plain = nw.SparseDictionary(8, 13, coder=nw.OMP(2))
    with pytest.raises(ValueError, match="network=Pairs\\(inputs=8\\)"):
        nw.fit(nw.Autoencoder.for_vectors(13, plain, network=nw.Direct()), data, show=False)
    with pytest.raises(ValueError, match="such as Direct"):
        nw.fit(_model(_made()), nw.data.from_array(torch.randn(100, 13)), show=False)
    with pytest.raises(ValueError, match="of shape \\[batch, 13\\]"):
        _model(_made()).loss(torch.randn(4, INPUTS))  # without targets there is nothing to learn
