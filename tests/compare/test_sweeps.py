"""Every recipe's own knob, and values that the recipe accepts."""

import yaml

from narrows.cli import parsing, recipes
from narrows.cli.train import parser
from narrows.compare.sweeps import automatic


def test_each_kind_of_latent_is_swept_by_what_moves_its_rate():
    names = ["ae", "vae", "vq-ema", "sparse-omp", "sparse-lasso", "sparse-image", "rvq", "fsq"]
    found = automatic({name: recipes.find(name) for name in names})
    assert [key.partition(":")[2] for key in found] == [
        "model.bottleneck.dim", "model.beta", "model.bottleneck.size", "model.bottleneck.coder.k",
        "model.bottleneck.target_l0", "model.bottleneck.coder.k", "model.bottleneck.stages",
        "model.bottleneck.levels",
    ]  # fmt: skip


def test_every_shipped_recipe_accepts_all_values_of_its_sweep():
    shipped = {name: recipes.find(name) for name in recipes.names()}
    for key, values in automatic(shipped).items():
        label, _, argument = key.partition(":")
        for value in values:
            words = ["--config", str(shipped[label]), f"--{argument}", value]
            config = parsing.parse(parser(), words)
            given = yaml.safe_load(value)
            held = config.model
            for part in argument.split(".")[1:]:
                held = held[part] if part in held else held.init_args[part]
            assert held == given, (label, argument)


def test_a_latent_without_a_knob_is_left_out():
    assert automatic({"split": recipes.find("discrete-continuous")}) == {}
