"""The model as a whole: one expression for the loss, shapes kept, saved and loaded."""

import json
import math

import pytest
import torch

import narrows as nw
from narrows.bottlenecks import Identity, SparseDictionary, TopK, Variational, VectorQuantizer
from narrows.networks import Conv, Mlp, ResNet, Transformer

LATENTS = {
    "plain": lambda: Identity(4),
    "variational": lambda: Variational(4),
    "vq": lambda: VectorQuantizer(16, 4),
    "sparse": lambda: SparseDictionary(16, 4, coder=TopK(2)),
}
NETWORKS = {
    "mlp": Mlp(hidden=(16,)),
    "linear": Mlp(hidden=()),
    "conv": Conv(hidden=8, residual_hidden=4),
    "resnet": ResNet(hidden=8),
    "transformer": Transformer(dim=16, depth=1, heads=2),
}


@pytest.mark.parametrize("shape", [(1, 27, 27), (3, 20, 36), (3, 32, 32), (1, 8, 8)])
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_the_output_has_the_shape_of_the_input_for_any_image(shape, network):
    model = nw.Autoencoder.for_images(shape, VectorQuantizer(8, 4), network=network)
    x = torch.rand(2, *shape)
    assert model.reconstruct(x).shape == x.shape
    assert model.loss(x).nll.shape == (2,)


@pytest.mark.parametrize("latent", LATENTS.values(), ids=LATENTS)
def test_vectors_work_as_images_do(latent):
    model = nw.Autoencoder.for_vectors(7, latent(), network=Mlp(hidden=(16,)))
    assert model.loss(torch.rand(3, 7)).total.isfinite()
    assert model.latent(torch.rand(3, 7)).z.shape == (3, 4)


@pytest.mark.parametrize("latent", LATENTS.values(), ids=LATENTS)
def test_the_loss_is_nll_plus_beta_rate_plus_weighted_terms(latent):
    model = nw.Autoencoder.for_images((1, 8, 8), latent(), network=NETWORKS["conv"], beta=0.7)
    for mode in (True, False):
        loss = model.train(mode).loss(torch.rand(5, 1, 8, 8))
        expected = loss.nll
        if loss.rate is not None:
            expected = expected + 0.7 * loss.rate
        for name, weight in model.bottleneck.weights.items():
            expected = expected + weight * loss.terms[name]
        torch.testing.assert_close(loss.total, expected.mean())


def test_a_plain_code_has_no_rate_and_asking_for_one_is_refused():
    model = nw.Autoencoder.for_images((1, 8, 8), Identity(2), network=NETWORKS["conv"])
    assert model.loss(torch.rand(2, 1, 8, 8)).rate is None
    with pytest.raises(ValueError, match="fit"):
        model.bits(torch.rand(2, 1, 8, 8))


def test_a_uniform_code_costs_log2_k_bits_a_site():
    model = nw.Autoencoder.for_images((1, 8, 8), VectorQuantizer(32, 4), network=NETWORKS["conv"])
    bits = model.bits(torch.rand(3, 1, 8, 8))
    torch.testing.assert_close(bits, torch.full((3,), 4 * math.log2(32)))


@pytest.mark.parametrize("latent", LATENTS.values(), ids=LATENTS)
def test_saving_and_loading_gives_the_same_model(latent, tmp_path):
    model = nw.Autoencoder.for_images((1, 8, 8), latent(), network=NETWORKS["conv"])
    x = torch.rand(4, 1, 8, 8)
    model.prior.fit([model.eval().latent(x)])
    model.save(tmp_path)
    twin = nw.Autoencoder.load(tmp_path)
    assert torch.equal(model.reconstruct(x), twin.reconstruct(x))
    assert torch.equal(model.bits(x), twin.bits(x))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]


def test_a_class_path_outside_narrows_is_not_built(tmp_path):
    model = nw.Autoencoder.for_images((1, 8, 8), Identity(2), network=NETWORKS["conv"])
    model.save(tmp_path)
    parts = json.loads((tmp_path / "model.json").read_text())
    parts["bottleneck"] = {"class_path": "subprocess.Popen", "init_args": {"args": ["true"]}}
    parts.pop("checksum", None)
    (tmp_path / "model.json").write_text(json.dumps(parts))
    with pytest.raises(ValueError, match=r"subprocess\.Popen"):
        nw.Autoencoder.load(tmp_path)


def test_loading_a_folder_without_a_model_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model\.json and no model\.safetensors"):
        nw.Autoencoder.load(tmp_path)


def test_using_a_model_leaves_its_mode_and_state_as_they_were():
    model = nw.Autoencoder.for_images(
        (1, 8, 8), VectorQuantizer(8, 4), network=ResNet(hidden=8)
    ).train()
    model.encoder.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.reconstruct(torch.rand(3, 1, 8, 8))
    model.sample(2)
    assert model.training
    assert not model.encoder.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (torch.rand(2, 8, 8, 1), "permute"),
        (torch.rand(2, 3, 8, 8), r"\[batch, 1, 8, 8\]"),
        (torch.rand(1, 8, 8), r"\[batch, 1, 8, 8\]"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "divide 8-bit images by 255"),
        (torch.full((2, 1, 8, 8), float("nan")), "NaN"),
    ],
)
def test_examples_that_do_not_fit_are_refused_with_the_fix(x, said):
    model = nw.Autoencoder.for_images((1, 8, 8), VectorQuantizer(8, 4), network=NETWORKS["conv"])
    with pytest.raises(ValueError, match=said):
        model.loss(x)


def test_impossible_models_are_refused_at_construction():
    with pytest.raises(ValueError, match="for_vectors"):
        nw.Autoencoder.for_images((64,), Identity(2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="positive integer"):
        nw.Autoencoder.for_vectors(0, Identity(2))
    with pytest.raises(ValueError, match="beta"):
        nw.Autoencoder.for_images((1, 8, 8), Identity(2), beta=-1.0)
    with pytest.raises(TypeError, match="Mlp"):
        nw.Autoencoder.for_vectors(5, Identity(2), network=Conv())
