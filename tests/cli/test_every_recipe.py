"""Every recipe trains as the command trains it, and a run's config.yaml says it again."""

import math

import pytest
import torch
from safetensors.torch import load_file

import narrows as nw
from narrows.cli import parsing, recipes
from narrows.cli.main import main
from narrows.cli.train import parser
from narrows.data import Dataset, Origin, Split
from narrows.recorded import spec
from tests.training.states import equal

SHAPES = {
    "digits": (1, 8, 8), "cifar10": (3, 32, 32), "audio:sounds": (1, 512), "superposition": (88,),
}  # fmt: skip
INPUTS = {"superposition": 48}
STEPS, BATCH = 3, 8


def noise(name):
    """Noise in the shape of the recipe's data, eight-bit images: enough for a few steps."""
    generator = torch.Generator().manual_seed(0)
    shape = SHAPES[name]

    def split(n):
        if len(shape) < 3:
            return Split(torch.randn((n, *shape), generator=generator), features=0)
        return Split(torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=generator))

    parts = (split(n) for n in (STEPS * BATCH, 4, 4))
    return Dataset(name, *parts, origin=Origin(source=name, inputs=INPUTS.get(name, 0)))


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_trains_for_a_few_steps_and_its_record_makes_it_again(name, tmp_path):
    options = ["--fit.epochs", "1", "--fit.batch_size", str(BATCH), "--fit.show", "false"]
    config = parsing.parse(parser(), ["--config", str(recipes.find(name)), *options])
    data = noise(config.data)
    torch.manual_seed(0)
    made = parsing.instantiate(parser(), config)
    make = nw.Autoencoder.for_own_units if data.own_units else nw.Autoencoder.for_images
    model = make(data.shape, **vars(made.model))
    run = nw.fit(model, data, out=tmp_path / "run", **vars(made.fit))
    assert math.isfinite(run.history[-1]["loss"])
    assert run.test["bits_per_example"] >= 0
    record = parsing.parse(parser(), ["--config", str(tmp_path / "run" / "config.yaml")])
    again = parsing.instantiate(parser(), record)
    for part, value in vars(made.model).items():
        if value is not None:  # what a recipe leaves to a default is recorded as it was made
            assert spec(vars(again.model)[part]) == spec(value), part
    assert spec(again.fit.optimization) == spec(made.fit.optimization)
    assert spec(list(again.fit.callbacks)) == spec(list(made.fit.callbacks))
    assert again.fit.batch_size == BATCH


def test_a_runs_config_reruns_it_to_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr("narrows.compare.pages.run.write", lambda *a, **k: None)
    small = ["--fit.epochs", "1", "--fit.batch_size", "256", "--fit.show", "false"]
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["train", "vae", "--fit.seed", "3", *small, "--out", str(first)]) == 0
    assert main(["train", str(first), "--out", str(second)]) == 0
    assert equal(*(load_file(run / "model.safetensors") for run in (first, second)))
    assert (first / "config.yaml").read_text() == (second / "config.yaml").read_text()
