"""What the engine's options change, and what they must not."""

import dataclasses

import pytest
import torch

import narrows as nw
from narrows.bottlenecks import Variational, VectorQuantizer
from narrows.networks import Conv
from narrows.training import Callback, Constant, Engine, Optimization

NETWORK = Conv(hidden=8, residual_layers=1, residual_hidden=4, downsamplings=1)


@pytest.fixture(scope="module")
def digits():
    whole = nw.data.load("digits")
    parts = (whole.train.head(192), whole.validation.head(40), whole.test.head(40))
    return dataclasses.replace(whole, train=parts[0], validation=parts[1], test=parts[2])


def trained(data, bottleneck, likelihood=None, **options):
    """The model after training, and its run."""
    torch.manual_seed(0)
    likelihood = likelihood or nw.likelihoods.Normal(0.3)
    model = nw.Autoencoder.for_images(
        data.shape, bottleneck(), network=NETWORK, likelihood=likelihood
    )
    arguments = {"epochs": 1, "batch_size": 32, "show": False} | options
    return nw.fit(model, data, **arguments)


def largest_difference(one, two):
    return max(
        (float((value.double() - two[name].double()).abs().max()), name)
        for name, value in one.items()
        if value.numel()
    )


def test_what_cannot_be_cut_into_shards_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="whole on every rank"):
        Engine(strategy="deepspeed")
    for options in ({"compile": True}, {"precision": "16-mixed"}):
        with pytest.raises(ValueError, match="fsdp goes without compile and 16-mixed"):
            Engine(strategy="fsdp", **options)


def test_channels_last_changes_the_layout_and_no_number(digits):
    layouts = []

    class Watch(Callback):
        def after_step(self, model, loss):
            kernel = next(p for p in model.parameters() if p.dim() == 4 and p.shape[1] > 1)
            layouts.append(kernel.is_contiguous(memory_format=torch.channels_last))

    states = [
        trained(
            digits, lambda: VectorQuantizer(8, 4), callbacks=[Watch()],
            engine=Engine("cpu", precision="64-true", channels_last=last),
        ).model.state_dict()
        for last in (False, True)
    ]  # fmt: skip
    steps = len(layouts) // 2
    assert layouts == [False] * steps + [True] * steps
    assert largest_difference(*states)[0] < 1e-9


def test_bf16_learns_as_well_as_float32_to_its_precision(digits):
    """Autocast rounds to 8 bits; the loss at the end agrees to a per cent, and is not equal."""
    runs = [
        trained(digits, lambda: VectorQuantizer(16, 4), epochs=8, engine=Engine("cpu", precision=p))
        for p in ("32-true", "bf16-mixed")
    ]
    plain, rounded = (run.history[-1]["nll"] for run in runs)
    first = runs[0].history[0]["nll"]
    assert plain != rounded
    assert abs(plain - rounded) < 0.05 * abs(first - plain)


def test_a_whole_model_in_float64_trains_and_is_measured(digits):
    run = trained(digits, lambda: Variational(4), engine=Engine("cpu", precision="64-true"))
    assert {p.dtype for p in run.model.parameters()} == {torch.float64}
    assert 0 < run.test["nmse"] < 10


def test_weights_in_half_precision_are_refused_with_the_reason():
    with pytest.raises(ValueError, match=r"averages stand still in it: use bf16-mixed"):
        Engine(precision="bf16-true")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute")
@pytest.mark.parametrize("whole", [False, True])
def test_compiled_networks_train_to_the_same_weights(digits, whole):
    sigma = "optimal" if whole else 0.3
    states = [
        trained(
            digits, lambda: VectorQuantizer(8, 4), nw.likelihoods.Normal(sigma), batch_size=16,
            optimization=Optimization(learning_rate=1e-3, schedule=Constant()),
            engine=Engine("cpu", precision="64-true", compile=compiled, accumulate=2),
        ).model.state_dict()
        for compiled in (False, True)
    ]  # fmt: skip
    assert states[0].keys() == states[1].keys()
    assert largest_difference(*states)[0] < 1e-9


def test_half_precision_is_refused_where_there_is_no_gpu():
    with pytest.raises(ValueError, match=r"16-mixed is for GPUs.*bf16-mixed"):
        Engine("cpu", precision="16-mixed").fabric()
