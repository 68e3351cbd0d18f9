from pathlib import Path

import pytest
import torch
import yaml

import narrows as nw
from narrows.recorded import build

ROOT = Path(__file__).parents[2]
RECIPES = {
    path.stem: path
    for folder in (ROOT / "src" / "narrows" / "recipes", *ROOT.glob("reproductions/*/recipes"))
    for path in folder.glob("*.yaml")
}
SHAPES = {"digits": (1, 8, 8), "cifar10": (3, 32, 32)}
OURS = [
    "antony-vqvae", "athayde-vqvae", "fsq", "lfq", "notebook-vq", "notebook-vq-ema", "rounded",
    "rvq", "semantic-ids", "simvq", "vq", "vq-ema", "vq-entropy",
    "vq-fast",
]  # fmt: skip


@pytest.mark.parametrize("name", OURS)
def test_a_recipe_makes_a_model_that_takes_a_step_on_its_data(name):
    recipe = yaml.safe_load(RECIPES[name].read_text())
    shape = SHAPES[recipe["data"]]
    torch.manual_seed(0)
    parts = {part: build(value) for part, value in recipe["model"].items()}
    model = nw.Autoencoder.for_images(shape, **parts).train()
    optimizer = build(recipe["fit"]["optimization"]).optimizer(model)
    loss = model.loss(torch.rand(4, *shape))
    loss.total.backward()
    optimizer.step()
    model.bottleneck.update([loss.latent])
    assert loss.total.isfinite()
    assert loss.latent.has_rate


@pytest.mark.parametrize(("name", "dim"), [("notebook-vq", 256), ("notebook-vq-ema", 64)])
def test_the_notebooks_loss_is_ours_up_to_a_constant(name, dim):
    # NMSE + 0.25 mean commitment, times 3072 values and the variance 0.0633.
    recipe = yaml.safe_load(RECIPES[name].read_text())
    weight = build(recipe["model"]["bottleneck"]).weights["commitment"]
    assert weight == pytest.approx(0.25 * 3072 * 0.06329 / (64 * dim), rel=2e-3)
    likelihood = build(recipe["model"]["likelihood"])
    x, near, far = torch.rand(3, 2, 3, 32, 32)
    squares = [(x - output).square().flatten(1).sum(1) for output in (near, far)]
    gap = likelihood.log_prob(x, far) - likelihood.log_prob(x, near)
    assert torch.allclose(gap, squares[0] - squares[1], rtol=1e-3)
