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
SHAPES = {"digits": (1, 8, 8), "cifar10": (3, 32, 32), "superposition": (88,)}
SPARSE = [
    "athayde-sparse-vae", "notebook-dictionary", "notebook-dictionary-as-written", "sae-batchtopk",
    "sae-gated", "sae-jumprelu", "sae-matryoshka", "sae-omp", "sae-random", "sae-relu", "sae-topk",
    "sae-transcoder",    "sparse-image", "sparse-lasso", "sparse-omp", "sparse-topk",
]  # fmt: skip


@pytest.mark.parametrize("name", SPARSE)
def test_a_sparse_recipe_trains_for_a_few_steps_on_its_data(name):
    recipe = yaml.safe_load(RECIPES[name].read_text())
    shape = SHAPES[recipe["data"]]
    torch.manual_seed(0)
    parts = {part: build(value) for part, value in recipe["model"].items()}
    model = nw.Autoencoder(shape, **parts).train()
    optimizer = build(recipe["fit"]["optimization"]).optimizer(model)
    x = torch.rand(4, *shape)
    for _ in range(3):
        loss = model.loss(x)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        model.bottleneck.update([loss.latent])
        assert loss.total.isfinite()
    assert not loss.latent.has_rate  # continuous values: bits only once they are rounded
    model.eval()
    assert model.reconstruct(x).isfinite().all()
    summary = model.bottleneck.summary(model.latent(x).stats, 4)
    assert summary["l0"] > 0


def test_the_notebooks_dictionary_loss_is_ours_up_to_a_constant():
    # Mean squares, 1 and 1/4, times 3072 values and the variance 0.0633.
    recipe = yaml.safe_load(RECIPES["notebook-dictionary-as-written"].read_text())
    weights = build(recipe["model"]["bottleneck"]).weights
    assert weights["dictionary"] == pytest.approx(3072 * 0.06329 / (64 * 256), rel=2e-3)
    assert weights["commitment"] == pytest.approx(weights["dictionary"] / 4)


def test_the_reports_commitment_is_ours_for_images_in_zero_to_one():
    recipe = yaml.safe_load(RECIPES["athayde-sparse-vae"].read_text())
    weights = build(recipe["model"]["bottleneck"]).weights
    assert weights["commitment"] == pytest.approx(3072 / (4 * 64 * 256))
