"""The loop: it learns, repeats itself, writes what it says, and stops with a reason."""

import dataclasses
import json

import numpy as np
import pytest
import torch
import yaml

import narrows as nw
from narrows.bottlenecks import Identity, SparseDictionary, TopK, Variational, VectorQuantizer
from narrows.networks import Conv
from narrows.training import Constant, Cosine, Engine, NonFiniteLossError, OneCycle, Optimization

NETWORK = Conv(hidden=16, residual_layers=1, residual_hidden=8, downsamplings=1)


@pytest.fixture(scope="module")
def digits():
    return nw.data.load("digits")


def model_for(data, bottleneck, seed=0):
    torch.manual_seed(seed)
    return nw.Autoencoder.for_images(data.shape, bottleneck, network=NETWORK)


def mean_image_nmse(data):
    train = data.train.batch(torch.arange(len(data.train)))
    test = data.test.batch(torch.arange(len(data.test)))
    return ((test - train.mean(0)).square().mean() / data.variance).item()


@pytest.mark.parametrize(
    "bottleneck",
    [
        lambda: Identity(2),
        lambda: Variational(2),
        lambda: VectorQuantizer(32, 8),
        lambda: SparseDictionary(32, 8, coder=TopK(2, refit=True)),
    ],
    ids=["plain", "variational", "vq", "sparse"],
)
def test_every_latent_learns_digits(digits, bottleneck):
    run = nw.fit(
        model_for(digits, bottleneck()),
        digits,
        epochs=12,
        optimization=Optimization(learning_rate=3e-3),
        show=False,
    )
    assert run.history[-1]["loss"] < run.history[0]["loss"]
    assert run.test["nmse"] < 0.75 * mean_image_nmse(digits)
    assert run.test["bits_per_example"] > 0
    assert run.test["bits_per_dimension"] == pytest.approx(run.test["bits_per_example"] / 64)
    assert run.model.sample(3).shape == (3, 1, 8, 8)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(digits):
    def weights(seed):
        torch.manual_seed(0)  # the codebook is drawn when it is made
        model = model_for(digits, VectorQuantizer(16, 4))
        nw.fit(model, digits, epochs=1, seed=seed, show=False)
        return {name: value.clone() for name, value in model.state_dict().items()}

    one, again, other = weights(0), weights(0), weights(1)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_folder_holds_what_it_should_and_loads(digits, tmp_path):
    run = nw.fit(
        model_for(digits, VectorQuantizer(16, 4)),
        digits,
        epochs=2,
        out=tmp_path / "run",
        show=False,
    )
    names = {path.name for path in run.folder.iterdir()}
    assert {
        "config.yaml", "environment.json", "metrics.json", "metrics.jsonl", "model.json",
        "model.safetensors",
    } <= names  # fmt: skip
    assert not [name for name in names if "partial" in name]
    config = yaml.safe_load((run.folder / "config.yaml").read_text())
    assert config["model"]["bottleneck"]["class_path"].endswith("VectorQuantizer")
    assert config["fit"]["epochs"] == 2
    lines = (run.folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
    again = nw.Run.load(run.folder)
    assert again.test == run.test
    x = digits.test.batch(torch.arange(5))
    assert torch.equal(again.model.reconstruct(x), run.model.reconstruct(x))


def test_an_occupied_folder_is_refused_before_training(digits, tmp_path):
    (tmp_path / "note").write_text("mine")
    with pytest.raises(FileExistsError, match="never overwrite"):
        nw.fit(model_for(digits, Identity(2)), digits, epochs=1, out=tmp_path, show=False)
    assert [path.name for path in tmp_path.iterdir()] == ["note"]


def test_a_diverging_run_stops_with_step_part_and_cause(digits):
    optimization = Optimization(learning_rate=1e18, schedule=Constant())
    with pytest.raises((NonFiniteLossError, ValueError), match=r"step \d+|learning rate"):
        nw.fit(model_for(digits, Identity(2)), digits, optimization=optimization, show=False)


@pytest.mark.parametrize(("name", "value"), [("epochs", 0), ("batch_size", 0)])
def test_numbers_out_of_range_are_refused(digits, name, value):
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        nw.fit(model_for(digits, Identity(2)), digits, show=False, **{name: value})


def test_data_of_another_shape_is_refused(digits):
    model = nw.Autoencoder.for_images((1, 10, 10), Identity(2), network=NETWORK)
    with pytest.raises(ValueError, match=r"for_images\(data\.shape"):
        nw.fit(model, digits, show=False)


def test_two_micro_batches_are_one_batch_of_twice_the_size(digits):
    """Gradients and the moving-average codebook count each example once."""
    few = dataclasses.replace(digits, train=digits.train.head(192))

    def trained(batch_size, accumulate):
        torch.manual_seed(0)  # the codebook is drawn when it is made
        model = nw.Autoencoder.for_images(
            few.shape, VectorQuantizer(8, 4), network=NETWORK, likelihood=nw.likelihoods.Normal(0.3)
        )
        nw.fit(
            model,
            few,
            epochs=1,
            batch_size=batch_size,
            engine=Engine(accumulate=accumulate),
            optimization=Optimization(learning_rate=1e-4),
            show=False,
        )
        return model.state_dict()

    whole, halves = trained(64, 1), trained(32, 2)
    for name, value in whole.items():
        torch.testing.assert_close(value, halves[name], rtol=1e-4, atol=1e-4)


def test_evaluation_does_not_depend_on_the_batch_size(digits):
    model = model_for(digits, VectorQuantizer(16, 4))
    small = nw.evaluate(model, digits.test, variance=digits.variance, batch_size=7)
    large = nw.evaluate(model, digits.test, variance=digits.variance, batch_size=1000)
    assert small.keys() == large.keys()
    for name, value in small.items():
        assert value == pytest.approx(large[name], rel=1e-4), name


def test_nmse_is_the_notebooks_measure(digits):
    model = model_for(digits, Identity(2))
    figures = nw.evaluate(model, digits.test, variance=digits.variance)
    x = digits.test.batch(torch.arange(len(digits.test)))
    train = digits.train.batch(torch.arange(len(digits.train))).numpy()
    mse = (model.reconstruct(x) - x).square().mean().item()
    assert figures["mse"] == pytest.approx(mse, rel=1e-5)
    assert figures["nmse"] == pytest.approx(mse / np.var(train, dtype=np.float64), rel=1e-5)


def test_schedules_rise_and_fall_where_they_say():
    assert Constant()(0.5) == 1.0
    cosine = Cosine(warmup=0.1, floor=0.2)
    assert cosine(0.05) == pytest.approx(0.5)
    assert cosine(0.1) == pytest.approx(1.0)
    assert cosine(0.55) == pytest.approx(0.6)
    assert cosine(1.0) == pytest.approx(0.2)
    cycle = OneCycle(rise=0.25)
    assert (cycle(0.0), cycle(0.25)) == (pytest.approx(1 / 25), pytest.approx(1.0))
    assert cycle(1.0) == pytest.approx(1e-4)
    with pytest.raises(ValueError, match="fraction"):
        Cosine(warmup=1.5)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_an_array_or_a_tensor_is_trained_on_as_from_array_takes_it(kind):
    vectors = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    runs = []
    for data in (kind(vectors), nw.data.from_array(vectors)):
        torch.manual_seed(0)
        model = nw.Autoencoder.for_vectors(5, Identity(2))
        runs.append(nw.fit(model, data, epochs=1, show=False))
    assert runs[0].test == runs[1].test


def test_a_model_of_images_refuses_levels_and_arrays_with_the_way_out(digits):
    model = model_for(digits, Identity(2))
    levels = digits.test.images[:4].float()
    for use in (model.encode, model.reconstruct):
        with pytest.raises(ValueError, match="from 0 to 255; divide by 255"):
            use(levels)
        with pytest.raises(TypeError, match=r"torch\.as_tensor"):
            use(levels.numpy() / 255)
    with pytest.raises(TypeError, match=r"torch\.as_tensor"):
        model.decode(model.encode(levels / 255).numpy())
    with pytest.raises(TypeError, match=r"torch\.as_tensor"):
        nw.Codec(model_for(digits, nw.VectorQuantizer(8, 4))).compress(levels.numpy())
    assert model.encode(torch.ones(1, 1, 8, 8)).shape == model.encode(levels[:1] / 255).shape


def whole(images):
    return nw.data.Dataset("mine", *3 * [nw.data.Split(images)])


DOORS = {
    "encode": lambda model, x: model.encode(x),
    "reconstruct": lambda model, x: model.reconstruct(x),
    "bits": lambda model, x: model.bits(x),
    "first loss": lambda model, x: model.loss(x),
    "codec": lambda model, x: nw.Codec(model).compress(x),
    "fit, array": lambda model, x: nw.fit(model, x.numpy(), show=False),
    "fit, tensor": lambda model, x: nw.fit(model, x, show=False),
    "fit, data": lambda model, x: nw.fit(
        model, nw.data.Dataset("x", *3 * [nw.data.Split(x)]), show=False
    ),
    "evaluate": lambda model, x: nw.evaluate(model, nw.data.Split(x), variance=1.0),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("low", "high", "fix"),
    [(-1, 1, r"\(x \+ 1\) / 2"), (0, 255, "divide by 255"), (-0.2, 1.4, "scale"), (0, 1.1, "255")],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_images_outside_0_to_1_are_refused_at_every_door(door, low, high, fix, channels):
    torch.manual_seed(0)
    model = nw.Autoencoder.for_images(
        (channels, 8, 8), nw.VectorQuantizer(8, 4), network=nw.networks.Mlp((8,))
    )
    x = torch.rand(20, channels, 8, 8).mul(high - low).add(low)
    with pytest.raises(ValueError, match=rf"\[0, 1\].*({fix}|divide 8-bit ones)"):
        DOORS[door](model, x)


def test_noisy_images_are_encoded_on_purpose_and_other_data_in_any_range():
    noisy = 1.5 * torch.randn(4, 1, 8, 8)
    model = nw.Autoencoder.for_images((1, 8, 8), nw.VectorQuantizer(8, 4))
    assert model.reconstruct(noisy, any_range=True).shape == noisy.shape
    assert len(model.encode(torch.rand(4, 1, 8, 8) * 1.0009)) == 4  # as a resize may leave them
    own = nw.Autoencoder((4, 8, 8), nw.VectorQuantizer(8, 4), network=nw.networks.Mlp((8,)))
    assert own.reconstruct(torch.randn(4, 4, 8, 8) * 9).shape == (4, 4, 8, 8)
