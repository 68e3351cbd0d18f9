"""Models of other libraries, with random weights, around bottlenecks of narrows."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import narrows as nw
from narrows.cli.main import main
from narrows.interop import Parts, Pretrained, cache, parts, swap

diffusers = pytest.importorskip("diffusers", reason="pip install 'narrows[diffusers]'")
transformers = pytest.importorskip("transformers", reason="pip install 'narrows[transformers]'")

BLOCKS = {
    "block_out_channels": (8, 8),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "norm_num_groups": 4,
    "latent_channels": 4,
}


def kl(**options):
    torch.manual_seed(0)
    return diffusers.AutoencoderKL(**BLOCKS, **options)


def vq(**options):
    torch.manual_seed(0)
    return diffusers.VQModel(num_vq_embeddings=16, **{**BLOCKS, **options})


def encodec(**options):
    torch.manual_seed(0)
    return transformers.EncodecModel(
        transformers.EncodecConfig(
            num_filters=4, hidden_size=8, codebook_size=16, codebook_dim=8, num_lstm_layers=1,
            upsampling_ratios=[2, 2], sampling_rate=1600, target_bandwidths=[1.6], **options,
        )
    )  # fmt: skip


def vit():
    torch.manual_seed(0)
    return transformers.ViTModel(
        transformers.ViTConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
            image_size=16, patch_size=4,
        )
    )  # fmt: skip


def images(n=4):
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def sounds(n=4):
    return torch.randn(n, 1, 64, generator=torch.Generator().manual_seed(1))


def output(model, x):
    """Of the model's own forward."""
    made = model(x)
    return made.audio_values if hasattr(made, "audio_values") else made.sample


MODELS = {"kl": (kl, images), "vq": (vq, images), "encodec": (encodec, sounds)}
BOTTLENECKS = {
    "vq": lambda: nw.VectorQuantizer(16, 4),
    "residual": lambda: nw.ResidualQuantizer(nw.VectorQuantizer(16, 8), stages=3),
    "fsq": lambda: nw.FiniteScalarQuantizer([5, 4, 3]),
    "variational": lambda: nw.Variational(4),
    "plain": lambda: nw.Identity(5),
}


@pytest.mark.parametrize("bottleneck", BOTTLENECKS)
@pytest.mark.parametrize("name", MODELS)
def test_a_swapped_bottleneck_trains_through_the_models_own_forward(name, bottleneck):
    make, data = MODELS[name]
    model, x = make(), data()
    swapped = swap(model, BOTTLENECKS[bottleneck]()).train()
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    errors = []
    for _ in range(12):
        error = F.mse_loss(output(model, x)[..., : x.shape[-1]], x)
        (error + 0.01 * swapped.loss).backward()
        assert all(p.grad is not None for p in model.encoder.parameters())
        optimizer.step()
        optimizer.zero_grad()
        errors.append(float(error.detach()))
    assert errors[-1] < errors[0]
    model.eval()
    made = output(model, x)
    assert torch.equal(made, output(copy.deepcopy(model), x))
    z = swapped.embed(swapped.output.code)
    decoded = model.decode(z) if name == "kl" else None
    if decoded is not None:
        assert torch.allclose(decoded.sample, made, atol=1e-5)


def test_the_code_of_a_kl_model_is_the_mode_and_every_sample_of_its_posterior():
    model, x = kl().eval(), images()
    swapped = swap(model, nw.VectorQuantizer(16, 4)).eval()
    posterior = model.encode(x).latent_dist
    z = swapped.embed(swapped.output.code)
    assert torch.equal(posterior.mode(), z)
    assert torch.allclose(posterior.sample(), z, atol=1e-5)


def test_a_variational_bottleneck_has_the_divergence_of_the_kl_model_itself():
    model, x = kl().eval(), images()
    own = model.encode(x).latent_dist
    swapped = swap(model, nw.Variational(4)).eval()
    model(x)
    nats = swapped.output.bits * np.log(2)
    assert torch.allclose(nats, own.kl(), rtol=1e-4)
    assert torch.allclose(swapped.output.z, own.mode(), atol=1e-6)


def test_with_the_same_codewords_a_vq_model_gives_what_it_gave():
    model, x = vq().eval(), images()
    before, commit = model(x).sample, model(x).commit_loss
    codewords = model.quantize.embedding.weight.detach().clone()
    bottleneck = nw.VectorQuantizer(16, 4, commitment=1.25)  # theirs: 1 + beta
    bottleneck.set_codewords(codewords)
    swap(model, bottleneck).eval()
    after = model(x)
    assert torch.allclose(after.sample, before, atol=1e-5)
    assert torch.allclose(after.commit_loss, commit)


def test_with_the_same_codewords_an_encodec_model_gives_what_it_gave():
    model, x = encodec().eval(), sounds()
    stages = model.quantizer.get_num_quantizers_for_bandwidth(1.6)
    theirs = model.quantizer.layers[:stages]
    for layer in theirs:
        torch.nn.init.normal_(layer.codebook.embed)
    before = model(x)
    assert before.audio_codes.shape[2] == stages
    bottleneck = nw.ResidualQuantizer(nw.VectorQuantizer(16, 8), stages=stages)
    for stage, layer in zip(bottleneck.quantizers, theirs, strict=True):
        stage.set_codewords(layer.codebook.embed)
    swap(model, bottleneck).eval()
    after = model(x)
    assert torch.equal(after.audio_codes, before.audio_codes)
    assert torch.allclose(after.audio_values, before.audio_values, atol=1e-6)
    again = model.decode(after.audio_codes, [None])[0]
    assert torch.allclose(again, after.audio_values[..., : again.shape[-1]], atol=1e-6)


def test_chunks_of_sound_keep_their_gradient():
    model, x = encodec(chunk_length_s=0.02, overlap=0.5, normalize=True).train(), sounds()
    swap(model, nw.VectorQuantizer(16, 8)).train()
    model(x).audio_values.square().sum().backward()
    assert (
        float(model.encoder.layers[0].conv.parametrizations.weight.original1.grad.abs().sum()) > 0
    )
    assert not model.quantizer._waiting


def test_the_bottleneck_alone_can_be_trained():
    model, x = kl(), images()
    model.requires_grad_(False)
    swapped = swap(model, nw.SimVQ(16, 3))
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    (F.mse_loss(model.train()(x).sample, x) + swapped.loss).backward()
    optimizer.step()
    after = model.state_dict()
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert moved
    assert all(".swapped." in name for name in moved)


def test_a_second_bottleneck_takes_the_place_of_the_first():
    for make, x in ((kl, images()), (vq, images()), (encodec, sounds())):
        model = make().eval()
        swap(model, nw.VectorQuantizer(16, 4))
        second = swap(model, nw.FiniteScalarQuantizer([3, 3]))
        output(model, x)
        assert second.output is not None
        assert sum(isinstance(part, nw.Layer) for part in model.modules()) == 1


@pytest.mark.parametrize("name", MODELS)
def test_the_halves_make_a_network(name, tmp_path):
    make, data = MODELS[name]
    source, x = make(), data()
    model = nw.Autoencoder(
        tuple(x.shape[1:]), nw.VectorQuantizer(16, 4), network=Pretrained.of(source)
    )
    plain = nw.Autoencoder(
        tuple(x.shape[1:]),
        nw.Identity(8 if name == "encodec" else 4),
        network=Pretrained.of(source),
    )
    given, back = (2 * x - 1, lambda y: (y + 1) / 2) if name != "encodec" else (x, lambda y: y)
    source.eval()
    if name == "encodec":
        wanted = source.decoder(source.encoder(given))
    elif name == "kl":
        wanted = source(given).sample
    else:
        wanted = source.decode(source.encode(given).latents, force_not_quantize=True).sample
    assert torch.allclose(plain.eval()(x)[1], back(wanted), atol=1e-6)
    model.loss(x).total.backward()
    model.save(tmp_path / "model")
    again = nw.Autoencoder.load(tmp_path / "model")
    assert torch.equal(again.encode(x), model.encode(x))
    assert torch.equal(again.reconstruct(x), model.reconstruct(x))
    assert all(p.grad is None for p in source.parameters())


def test_a_vit_encodes_for_a_decoder_of_ours(tmp_path):
    source, x = vit().eval(), images()
    network = Pretrained.of(source, decoder=nw.Conv(8, downsamplings=2))
    model = nw.Autoencoder((3, 16, 16), nw.Identity(16), network=network).eval()
    assert model.sites == (4, 4)
    hidden = source(2 * x - 1).last_hidden_state[:, 1:]
    assert torch.allclose(model.latent(x).z.flatten(1, 2), hidden, atol=1e-6)
    model.save(tmp_path / "model")
    again = nw.Autoencoder.load(tmp_path / "model")
    assert torch.equal(again.reconstruct(x), model.reconstruct(x))


def test_cached_latents_are_those_of_the_model_and_a_comparison_runs_on_them(tmp_path, capsys):
    model, x = kl().eval(), images(12)
    path = cache(model, x, path=tmp_path / "latents.npy", batch_size=5)
    found = np.load(path)
    assert found.shape == (12, 4, 8, 8)
    assert np.allclose(found, model.encode(2 * x - 1).latent_dist.mode().detach(), atol=1e-6)
    own = nw.data.Dataset("x", *(nw.data.Split(x[i : i + 4]) for i in (0, 4, 8)))
    again = np.load(cache(model, own, path=tmp_path / "again" / "latents.npy"))
    assert np.allclose(again, found, atol=1e-6)
    arguments = ["--data", f"array:{path}", "--data-options.layout", "own", "--out"]
    small = ["--fit.epochs", "1", "--model.network.hidden", "4"]
    assert main(["train", "vq", *arguments, str(tmp_path / "run"), *small]) == 0
    capsys.readouterr()


def test_cached_latents_of_sound_and_of_patches_have_their_axes(tmp_path):
    for model, x, shape in ((encodec(), sounds(), (4, 8, 16)), (vit(), images(), (4, 16, 4, 4))):
        assert np.load(cache(model, x, path=tmp_path / "some.npy")).shape == shape


@pytest.mark.parametrize(
    ("x", "name", "says"),
    [
        (images(), "latents.npz", "ends in .npy"),
        (2 * images(), "latents.npy", r"in \[0, 1\]"),
        (images(0), "latents.npy", "at least one example"),
        (images() * torch.nan, "latents.npy", "NaN or infinite"),
    ],
)
def test_what_cannot_be_cached_is_refused_and_nothing_is_written(x, name, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        cache(kl(), x, path=tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_any_model_can_be_taken_by_its_parts():
    encoder, decoder = torch.nn.Conv1d(1, 6, 4, 4), torch.nn.ConvTranspose1d(6, 1, 4, 4)
    model = torch.nn.Sequential(encoder, torch.nn.Identity(), decoder)
    own = Parts(encoder, decoder, 6, 6, put=lambda swapped: model.__setitem__(1, swapped))
    swapped = swap(own, nw.LookupFreeQuantizer(4))
    (model(sounds()).square().mean() + swapped.loss).backward()
    assert swapped.output.code.shape[:2] == (4, 16)


@pytest.mark.parametrize(
    ("use", "kind", "says"),
    [
        (lambda: swap(vit(), nw.Identity(16)), TypeError, "no bottleneck to replace"),
        (lambda: swap(torch.nn.Linear(2, 2), nw.Identity(2)), TypeError, "got Linear"),
        (
            lambda: parts(vq(norm_type="spatial", block_out_channels=(32, 32))),
            TypeError,
            "spatial norms",
        ),
        (lambda: swap(kl(), nw.Identity(4)).loss, RuntimeError, "before its bottleneck's loss"),
        (lambda: Pretrained("Other", {}), ValueError, "expected one of AutoencoderKL"),
        (lambda: Pretrained.of(vit()).sites((3, 16, 16)), ValueError, "only encodes"),
    ],
)
def test_what_does_not_fit_is_refused(use, kind, says):
    with pytest.raises(kind, match=says):
        use()
