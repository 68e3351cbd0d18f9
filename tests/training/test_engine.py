"""What the engine's options change, and what they must not."""

import dataclasses
import importlib.util
from pathlib import Path

import pytest
import torch

import narrows as nw
from narrows.bottlenecks import Variational, VectorQuantizer
from narrows.networks import Conv
from narrows.training import Callback, Constant, Engine, Optimization

PROGRAM = Path(__file__).with_name("ranks_program.py")
spec = importlib.util.spec_from_file_location("ranks_program", PROGRAM)
assert spec is not None
program = importlib.util.module_from_spec(spec)
spec.loader.exec_module(program)

NETWORK = Conv(hidden=8, residual_layers=1, residual_hidden=4, downsamplings=1)
RANDOM = ("normal", "laplace", "cauchy", "free", "spike", "categorical", "split", "residual")
DETERMINISTIC = [
    *(name for name in program.FAMILIES if not name.startswith(RANDOM)), "split of quantisers",
]  # fmt: skip


@pytest.fixture(scope="module")
def digits():
    whole = nw.data.load("digits")
    parts = (whole.train.head(192), whole.validation.head(40), whole.test.head(40))
    return dataclasses.replace(whole, train=parts[0], validation=parts[1], test=parts[2])


def trained(data, bottleneck, **options):
    """The model after training, and its run."""
    torch.manual_seed(0)
    model = nw.Autoencoder.for_images(data.shape, bottleneck(), NETWORK, nw.likelihoods.Normal(0.3))
    arguments = {"epochs": 1, "batch_size": 32, "show": False} | options
    return nw.fit(model, data, **arguments)


def largest_difference(one, two):
    return max(
        (float((value.double() - two[name].double()).abs().max()), name)
        for name, value in one.items()
        if value.numel()
    )


@pytest.mark.parametrize("name", [n for n in DETERMINISTIC if "batch top-k" not in n])
def test_accumulated_micro_batches_are_one_large_batch(digits, name):
    """Weights and all running state, k-means start, averages and revival included.

    Not so for what looks at a whole batch at once (docs/training.md): BatchTopK's selection.
    """
    states = []
    for batch_size, accumulate in ((48, 1), (16, 3)):
        engine = Engine("cpu", precision="64-true", accumulate=accumulate)
        run = trained(
            digits, program.FAMILIES[name], epochs=2, batch_size=batch_size, engine=engine,
            optimization=Optimization(learning_rate=1e-2, clip=1.0),
        )  # fmt: skip
        states.append(run.model.state_dict())
    assert largest_difference(*states)[0] < 1e-9, largest_difference(*states)


def test_a_sharded_strategy_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="whole on every rank"):
        Engine(strategy="fsdp")


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
def test_compiled_networks_train_to_the_same_weights(digits):
    states = [
        trained(
            digits, lambda: VectorQuantizer(8, 4),
            optimization=Optimization(learning_rate=1e-3, schedule=Constant()),
            engine=Engine("cpu", precision="64-true", compile=compiled),
        ).model.state_dict()
        for compiled in (False, True)
    ]  # fmt: skip
    assert states[0].keys() == states[1].keys()
    assert largest_difference(*states)[0] < 1e-9
