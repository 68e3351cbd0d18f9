"""The judge on models whose worth is known."""

import math

import pytest
import torch

import narrows as nw
from narrows import data as sources
from narrows.compare.judge import Judge
from narrows.compare.pages.measures import tables
from narrows.data import Dataset, Split
from narrows.interop import LossRecovered
from narrows.priors.base import NoRateError
from narrows.report import Page, Section


def judge_all(judge, models):
    """The measures of every model, and of the references that need none."""
    found = {name: judge.judge(model) for name, model in models.items()}
    return found | judge.references({name: judge.width(model) for name, model in models.items()})


def as_html(tables):
    sections = [Section(heading, blocks) for heading, blocks in tables.items()]
    return Page("", [], sections).html()


class Copier:
    """Keeps everything, and samples by drawing held-out examples."""

    training = False
    sites = (1,)

    def __init__(self, drawn):
        self.drawn = drawn
        self.bottleneck = self.prior = self
        self.out_features = drawn[0].numel()

    def eval(self):
        return self

    def train(self, mode=True):
        return self

    def encode(self, x):
        return x.flatten(1)[:, None]

    def embed(self, code):
        return code

    def quantize(self, code):
        return code

    def reconstruct(self, x):
        return x

    def parameters(self):
        yield self.drawn

    def modules(self):
        return iter(())

    def encoder(self, x):
        return x

    def __call__(self, features):
        return self

    @property
    def code(self):
        raise NoRateError("numbers of no step")

    def sample(self, n, generator):
        return self.drawn[torch.randperm(len(self.drawn), generator=generator)[:n]]


class Collapsed(Copier):
    """Keeps nothing: one code, one grey picture."""

    def encode(self, x):
        return torch.zeros(len(x), 1, self.out_features)

    def reconstruct(self, x):
        return torch.full_like(x, 0.3)

    def sample(self, n, generator):
        return torch.full((n, *self.drawn.shape[1:]), 0.3) + 0.01 * torch.rand(n, 1, 1, 1)


@pytest.fixture(scope="module")
def digits():
    return sources.load("digits")


@pytest.fixture(scope="module")
def judge(digits):
    return Judge(digits, examples=600, epochs=5)


@pytest.fixture(scope="module")
def figures(judge, digits):
    drawn = digits.validation.batch(torch.arange(len(digits.validation)))
    return judge_all(judge, {"copier": Copier(drawn), "collapsed": Collapsed(drawn)})


def test_a_copier_is_as_good_as_real(figures):
    copier = figures["copier"]
    assert copier["ssim"] == copier["laplacian_ratio"] == copier["high_frequency_ratio"] == 1
    assert copier["real_on_reconstructed"] == copier["reconstructed_on_real"]
    assert copier["real_on_real"] == copier["real_on_reconstructed"] > 0.9
    assert copier["linear_probe"] == pytest.approx(figures["raw data"]["linear_probe"], abs=0.02)
    assert copier["denoised_0.5"] == figures["left as it came"]["denoised_0.5"]
    assert abs(copier["kid"]) < 0.05 * figures["collapsed"]["kid"]
    assert copier["frechet"] < 2 * copier["frechet_floor"]
    assert copier["coverage"] > 0.8
    assert copier["novelty"] == pytest.approx(1, abs=0.15)
    assert copier["two_sample"] == pytest.approx(0.5, abs=0.15)


def test_a_collapsed_model_is_shown_to_be_useless(figures):
    collapsed = figures["collapsed"]
    assert collapsed["effective_rank"] == 0
    assert collapsed["laplacian_ratio"] < 1e-6
    assert collapsed["linear_probe"] < 0.2
    assert collapsed["reconstructed_on_real"] < 0.3
    assert collapsed["coverage"] < 0.1
    assert collapsed["two_sample"] > 0.95
    assert collapsed["denoised_0.25"] < figures["the mean image"]["denoised_0.25"]


@pytest.mark.parametrize(
    "bottleneck", [nw.bottlenecks.FiniteScalarQuantizer((8, 8)), nw.bottlenecks.Variational(2)]
)
def test_information_of_a_code_is_part_of_the_rate_and_has_its_ceilings(judge, digits, bottleneck):
    torch.manual_seed(0)
    model = nw.Autoencoder.for_images(digits.shape, bottleneck, network=nw.networks.Conv(8))
    found = judge.information(model)
    rate = model.eval().bits(judge.test).mean().item()
    assert found["unit_information"] + found["rate_less_units"] == pytest.approx(rate, rel=1e-5)
    assert found["log_examples"] == pytest.approx(math.log2(len(judge.test)))
    assert 0 < found["whole_information"] < found["log_examples"] + 1e-9
    assert -0.1 < found["class_chance"] < 0.1
    assert found["class_information"] < found["class_entropy"] <= math.log2(10)
    assert 0 < found["best_unit_class"] < found["class_entropy"]
    html = as_html(tables({"it": found}, len(judge.test)))
    assert "log2 of the examples" in html
    assert "classes shuffled" in html


def test_references_stand_beside_the_models(figures):
    assert {"raw data", "pca of width 64", "random of width 64"} <= figures.keys()
    assert figures["pca of width 64"]["linear_probe"] > 0.85


def test_a_page_gets_a_table_for_every_question(figures):
    found = tables(figures, 360)
    assert list(found) == [
        "Sharpness", "Structure of the codes", "Samples", "What is retained", "Denoising",
    ]  # fmt: skip
    html = as_html(found)
    assert "real against real" in html
    assert "raw data" in html
    assert "not defined" in html  # references have no code of their own


def test_vectors_without_labels_are_judged_by_what_is_left():
    vectors = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))
    split = Split(vectors)
    judge = Judge(Dataset("vectors", split, split, split))
    model = nw.Autoencoder.for_vectors(6, nw.Identity(6), network=nw.Mlp(hidden=()))
    found = judge_all(judge, {"copier": model})
    assert found.keys() == {"copier"}
    assert found["copier"].keys() == {
        "effective_rank", "components_95", "kurtosis", "near_zero", "hoyer", "self_expression",
        "explained",
    }  # fmt: skip
    with pytest.raises(ValueError, match="has no labels"):
        judge.classifier  # noqa: B018


def test_a_dictionary_of_the_true_features_is_told_from_one_that_learned_nothing():
    options = {"size": 32, "dim": 16, "n": 600, "l0": 2.0, "correlation": 0.0, "noise": 0.0}
    data = sources.load("superposition", **options)
    judge, models = Judge(data, examples=200), {}
    for name in ("true", "random"):
        torch.manual_seed(1)
        bottleneck = nw.SparseDictionary(32, 16, coder=nw.OMP(3))
        models[name] = nw.Autoencoder.for_vectors(16, bottleneck, network=nw.Direct())
        if name == "true":
            bottleneck.set_atoms(data.origin.known)
            bottleneck.steps.fill_(1)
        models[name].prior.fit([models[name].eval().latent(data.train.images)])
    found = {name: judge.features(model) for name, model in models.items()}
    true, random = found["true"], found["random"]
    assert true["mcc"] == pytest.approx(1)
    assert true["found"] == 1
    assert random["mcc"] < 0.7
    assert true["explained"] > max(0.9, random["explained"])
    assert 0 <= true["dead"] < 0.2
    assert true["file_bits"] > 0
    assert "recovered" not in true
    page = as_html(tables(found, 200))
    assert "with the true features" in page
    assert "bits a vector" in page


def test_the_loss_recovered_is_asked_of_what_is_at_hand():
    split = Split(torch.randn(60, 6))
    loss = LossRecovered(clean=1.0, spliced=1.5, zero=3.0, mean=2.0, tokens=9)
    judge = Judge(Dataset("vectors", split, split, split), recover=lambda _: loss)
    found = judge.features(nw.Autoencoder.for_vectors(6, nw.Identity(6), network=nw.Mlp(hidden=())))
    assert found["recovered"] == 0.75
    assert found["recovered_over_mean"] == 0.5
