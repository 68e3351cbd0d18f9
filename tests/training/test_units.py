"""Vectors of any unit and offset train alike, and their figures say so."""

import copy
import math

import pytest
import torch

import narrows as nw

AFFINE = [(1e-6, 0.0), (1e-3, 0.0), (1.0, 1000.0), (1e6, -3e6)]


def vectors(scale: float = 1.0, shift: float = 0.0) -> nw.data.Dataset:
    """Eight features driven by two, on a grid that keeps its digits 1,000 from zero."""
    generator = torch.Generator().manual_seed(0)
    factors = torch.randn(400, 2, generator=generator)
    mixed = factors @ torch.randn(2, 8, generator=generator)
    mixed += 0.1 * torch.randn(400, 8, generator=generator)
    return nw.data.from_array(((1024 * mixed).round() / 1024).double() * scale + shift)


def trained(data: nw.data.Dataset, bottleneck=None, likelihood=None, epochs: int = 12) -> nw.Run:
    torch.manual_seed(0)
    model = nw.Autoencoder.for_vectors(
        8, bottleneck or nw.Identity(2), network=nw.Mlp(hidden=(32,)), likelihood=likelihood
    )
    optimization = nw.Optimization(learning_rate=3e-3)
    return nw.fit(model, data, epochs=epochs, optimization=optimization, show=False)


@pytest.fixture(scope="module")
def plain() -> nw.Run:
    return trained(vectors())


def test_the_plain_set_is_learned(plain):
    assert plain.test["nmse"] < 0.2


@pytest.mark.parametrize(("scale", "shift"), AFFINE)
def test_any_affine_scale_gives_the_figures_of_the_plain_set(plain, scale, shift):
    run = trained(vectors(scale, shift))
    assert run.test["nmse"] == pytest.approx(plain.test["nmse"], rel=0.03)
    assert run.test["snr"] == pytest.approx(plain.test["snr"], abs=0.15)
    # A density in another unit: log p falls by log(scale) for each of the eight features.
    assert run.test["nll"] == pytest.approx(plain.test["nll"] + 8 * math.log(scale), abs=0.3)


@pytest.mark.parametrize(
    ("bottleneck", "likelihood"),
    [
        (nw.Variational(2), nw.Normal("learned")),
        (nw.VectorQuantizer(16, 2), nw.Normal("optimal")),
    ],
)
def test_rates_and_learned_variances_do_not_depend_on_the_unit(bottleneck, likelihood):
    one, two = (
        trained(vectors(*unit), copy.deepcopy(bottleneck), copy.deepcopy(likelihood), epochs=4)
        for unit in ((1.0, 0.0), (1e-6, 0.25))
    )
    for name in ("nmse", "bits_per_example"):
        assert two.test[name] == pytest.approx(one.test[name], rel=0.05)


def test_the_unit_is_saved_with_the_model(tmp_path):
    data = vectors(1e-3, 5.0)
    model = trained(data, epochs=2).model
    again = nw.Autoencoder.load(model.save(tmp_path / "model"))
    x = data.test.batch(torch.arange(5))
    torch.testing.assert_close(again.reconstruct(x), model.reconstruct(x), rtol=0, atol=0)
    assert again.likelihood.variance() == model.likelihood.variance()
    assert (again.sample(50).mean(0) - 5).abs().max() < 0.05


def test_a_trained_model_keeps_its_unit_when_it_is_trained_on(plain):
    model = trained(vectors(), epochs=1).model
    before = model.encoder[0].mean.clone()
    nw.fit(model, vectors(1.0, 2.0), epochs=1, show=False)
    assert torch.equal(before, model.encoder[0].mean)


def test_images_are_not_standardised():
    model = nw.Autoencoder.for_images((1, 8, 8), nw.Identity(2), network=nw.Mlp(hidden=(8,)))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.learn_units(torch.ones(1, 1, 1), 4.0)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_floor_of_the_variance_relative_to_the_data_lets_small_data_be_fitted():
    normal = nw.Normal("optimal")
    normal.learn_unit(1e-6)
    x = 1e-6 * torch.randn(64, 5)
    normal.train()
    near, far = (normal.log_prob(x, x + error).mean() for error in (1e-8, 1e-7))
    assert near > far + 5


@pytest.mark.parametrize("sigma", ["optimal", "learned", 0.3])
def test_the_density_of_a_normal_is_in_the_unit_of_the_data(sigma):
    torch.manual_seed(0)
    plain, scaled = nw.Normal(sigma).double(), nw.Normal(sigma).double()
    scaled.learn_unit(1e-3)
    x, output = torch.randn(2, 6, 4, dtype=torch.float64)
    if sigma == 0.3:
        torch.testing.assert_close(scaled.log_prob(x, output), plain.log_prob(x, output))
    else:
        expected = plain.log_prob(x, output) - 4 * math.log(1e-3)
        torch.testing.assert_close(scaled.log_prob(1e-3 * x, 1e-3 * output), expected)


def test_a_massive_dimension_that_is_nearly_constant_does_not_hide_that_nothing_is_explained():
    data = nw.data.from_array(torch.randn(200, 6) + torch.tensor([900.0, 0, 0, 0, 0, 0]))
    means = data.means.expand(len(data.test), -1)
    error = (data.test.images - means).square().mean().item()
    assert error / data.variance == pytest.approx(1, abs=0.3)


def test_the_variance_is_that_about_each_feature():
    values = torch.randn(300, 4, dtype=torch.float64) * torch.tensor([1.0, 2, 3, 4]) + 7
    data = nw.data.from_array(values)
    train = data.train.images.double()
    assert data.variance == pytest.approx(train.var(0, correction=0).mean().item(), rel=1e-9)
    assert data.means.tolist() == pytest.approx(train.mean(0).tolist(), rel=1e-9)


def test_images_keep_the_published_variance():
    data = nw.data.load("digits", train_examples=200)
    values = data.train.images.double() / 255
    assert data.variance == pytest.approx(values.var(correction=0).item(), rel=1e-9)


def test_data_without_a_peak_have_no_psnr(plain):
    assert "psnr" not in plain.test
    assert plain.test["snr"] == pytest.approx(-10 * math.log10(plain.test["nmse"]))


def test_explaining_nothing_is_said():
    torch.manual_seed(0)
    data = nw.data.from_array(torch.randn(2000, 8))
    model = nw.Autoencoder.for_vectors(8, nw.Identity(1))
    torch.nn.init.normal_(model.decoder[0][-1].bias)
    optimization = nw.Optimization(learning_rate=1e-9)
    run = nw.fit(model, data, epochs=1, optimization=optimization, show=False)
    assert run.test["nmse"] >= 1
    assert any(f"NMSE is {run.test['nmse']:.3g}" in sentence for sentence in run.advice)
    assert not any("NMSE" in sentence for sentence in trained(vectors(), epochs=3).advice)


@pytest.mark.parametrize("bottleneck", [nw.Identity(2), nw.Variational(2)])
def test_examples_in_double_are_coded_as_in_single(plain, bottleneck):
    data = vectors()
    torch.manual_seed(0)
    model = nw.Autoencoder.for_vectors(8, bottleneck).eval()
    x = data.test.batch(torch.arange(6))
    for measure in (model.encode, model.reconstruct, lambda x: model.loss(x).nll):
        torch.testing.assert_close(measure(x.double()), measure(x), check_dtype=False)


def test_latents_in_their_own_units_are_standardised_by_channel():
    """Four channels on sites, far from zero, one of them louder than the others."""
    generator = torch.Generator().manual_seed(0)
    draws = (
        torch.randn(160, 4, 4, 4, generator=generator) * torch.tensor([1.0, 1, 1, 3])[:, None, None]
    )
    runs = []
    for scale, shift in ((1.0, 0.0), (1e-4, 3.0)):
        data = nw.data.from_array(scale * draws + shift, layout="own")
        torch.manual_seed(0)
        model = nw.Autoencoder(data.shape, nw.Identity(8), network=nw.Mlp(hidden=(16,)))
        runs.append(nw.fit(model, data, epochs=3, show=False).test)
    assert "psnr" not in runs[0]
    assert runs[1]["nmse"] == pytest.approx(runs[0]["nmse"], rel=0.03)


SEQUENCES = {
    "nct": ((90, 2, 16), nw.Conv(hidden=8, residual_hidden=4, downsamplings=1)),
    "ntd": ((90, 16, 3), nw.Transformer(patch=2, dim=8, depth=1, heads=2)),
    "own": ((90, 1, 8, 8), nw.Conv(hidden=8, residual_hidden=4, downsamplings=1)),
}


def trained_on(values, layout: str, network: nw.Network) -> nw.Run:
    data = nw.data.from_array(values, layout=layout)
    torch.manual_seed(0)
    model = nw.Autoencoder.for_own_units(data.shape, nw.Identity(4), network=network)
    optimization = nw.Optimization(learning_rate=1e-2)
    return nw.fit(model, data, epochs=6, batch_size=16, optimization=optimization, show=False)


@pytest.mark.parametrize("layout", SEQUENCES)
@pytest.mark.parametrize(("scale", "shift"), [(1e-3, 0.0), (1.0, 1000.0)])
def test_the_unit_of_sequences_and_maps_changes_nothing(layout, scale, shift):
    shape, network = SEQUENCES[layout]
    draws = torch.randn(shape, generator=torch.Generator().manual_seed(0)).cumsum(-1)
    draws = (256 * draws).round() / 256  # which 1,000 more can hold
    plain = trained_on(draws, layout, network)
    moved = trained_on(scale * draws + shift, layout, network)
    assert plain.test["nmse"] < 0.95
    assert moved.test["nmse"] == pytest.approx(plain.test["nmse"], rel=1e-3)
    assert ("lsd" in plain.test) == (layout == "nct")


def test_a_model_of_maps_in_their_own_units_is_saved_as_one(tmp_path):
    data = nw.data.from_array(torch.randn(60, 1, 8, 8) * 50 + 7, layout="own")
    model = nw.Autoencoder.for_own_units(data.shape, nw.Identity(2), network=nw.Conv(8))
    nw.fit(model, data, epochs=1, show=False)
    again = nw.Autoencoder.load(model.save(tmp_path / "model"))
    x = data.test.batch(torch.arange(3))
    assert not again.takes_images
    torch.testing.assert_close(again.reconstruct(x), model.reconstruct(x), rtol=0, atol=0)


def test_own_units_and_axes_that_the_model_does_not_expect_are_refused():
    maps = nw.data.from_array(torch.randn(60, 1, 8, 8), layout="own")
    with pytest.raises(ValueError, match="for_own_units"):
        nw.fit(nw.Autoencoder(maps.shape, nw.Identity(2)), maps, epochs=1, show=False)
    rows = nw.data.from_array(torch.randn(60, 8, 12), layout="ntd")
    model = nw.Autoencoder(rows.shape, nw.Identity(2), network=nw.Conv(8))
    with pytest.raises(ValueError, match=r"takes sequences \[n, channels, t\].*layout='nct'"):
        nw.fit(model, rows, epochs=1, show=False)
