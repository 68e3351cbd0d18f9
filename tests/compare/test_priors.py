"""Runs under several priors: what a code costs, in a table and in a real file."""

import math

import pytest
import torch

import narrows as nw
from narrows.codes import Indices
from narrows.compare.bench import Source, _Coding
from narrows.compare.priors import KL, Request, measure, requests, samples
from narrows.likelihoods import Bernoulli, DiscretizedLogisticMixture
from narrows.networks import Conv
from narrows.priors import Prior
from narrows.training import latents
from narrows.training.priors import PriorRecipe, find_recipe, shipped_recipes

SMALL = {"epochs": 1, "hidden": 8, "components": 2}
BOTTLENECKS = {
    "vq": lambda: nw.bottlenecks.VectorQuantizer(16, 4),
    "rvq": lambda: nw.bottlenecks.ResidualQuantizer(nw.bottlenecks.VectorQuantizer(8, 4), 2),
    "categorical": lambda: nw.bottlenecks.Categorical(2, 4),
    "plain": lambda: nw.bottlenecks.Identity(2),
    "sparse": lambda: nw.bottlenecks.SparseDictionary(16, 4, coder=nw.bottlenecks.TopK(2)),
    "variational": lambda: nw.bottlenecks.Variational(2),
    "slab": lambda: nw.bottlenecks.SpikeAndSlab(2),
}


@pytest.fixture(scope="module")
def data():
    return nw.data.load("digits", train_examples=300, test_examples=150)


@pytest.fixture(scope="module")
def models(data):
    """A run of each family, its training as short as can be."""
    found = {}
    for name, bottleneck in BOTTLENECKS.items():
        torch.manual_seed(0)
        network = Conv(hidden=8, residual_layers=0, downsamplings=1)
        likelihood = DiscretizedLogisticMixture(2) if name == "variational" else None
        model = nw.Autoencoder.for_images(
            data.shape, bottleneck(), network=network, likelihood=likelihood
        )
        found[name] = nw.fit(model, data, epochs=1, show=False).model
    return found


def request(kind, files, factor=1.0, seed=0, **changed):
    recipe = None if kind == KL else find_recipe(kind).with_options({**SMALL, **changed})
    return Request(recipe, factor, seed, files)


SUITED = [
    *((family, kind) for family in ("vq", "rvq", "categorical")
      for kind in ("uniform", "histogram", "pixelcnn")),
    ("vq", "transformer"),
    ("plain", "quantized"), ("plain", "mixture"),
    ("variational", "quantized"), ("slab", "quantized"),
    ("sparse", "factorial"), ("sparse", "support"), ("sparse", "tokens"),
]  # fmt: skip


@pytest.mark.parametrize(("family", "kind"), SUITED)
def test_a_file_takes_what_its_prior_says(models, data, family, kind):
    figures, prior = measure(models[family], data, request(kind, 150))
    assert figures["file_images"] == 150
    # A range coder ends on whole 32-bit words: two of them at most are its own.
    slack = 64 / 150
    assert abs(figures["file_bits"] - figures["file_estimate"]) <= (
        0.01 * figures["file_estimate"] + slack
    )
    # All 150 test images went into the file, so both say the same of the same codes.
    assert figures["file_estimate"] == pytest.approx(figures["bits_per_example"], rel=1e-5)
    assert figures["bits_per_dimension"] == pytest.approx(figures["bits_per_example"] / 64)
    assert figures["nmse"] == pytest.approx(figures["mse"] / data.variance)
    assert prior is not models[family].prior, "the run keeps its own"


def test_uniform_costs_log2_k_and_no_prior_changes_what_is_decoded(models, data):
    found = {
        kind: measure(models["vq"], data, request(kind, 20))[0]
        for kind in ("uniform", "histogram", "pixelcnn")
    }
    assert found["uniform"]["bits_per_example"] == pytest.approx(16 * 4)  # 4 x 4 sites, 16 codes
    assert found["histogram"]["bits_per_example"] < found["uniform"]["bits_per_example"]
    assert len({figures["mse"] for figures in found.values()}) == 1
    own = nw.training.evaluate(models["vq"], data.test, variance=data.variance)
    assert found["histogram"]["mse"] == pytest.approx(own["mse"], rel=1e-5)
    assert found["histogram"]["bits_per_example"] == pytest.approx(own["bits_per_example"])


def test_the_kl_is_that_of_the_run_and_bits_back_attains_the_bound(models, data):
    figures, prior = measure(models["variational"], data, request(KL, 150))
    own = nw.training.evaluate(models["variational"], data.test, variance=data.variance)
    assert prior is models["variational"].prior
    assert figures["bits_per_example"] == own["bits_per_example"]
    assert figures["mse"] == own["mse"]
    assert "file_bits" not in figures, "a file of codes holds one code for certain"
    bound, file = figures["lossless_estimate"], figures["lossless_file_bits"]
    assert abs(file - bound) <= 0.01 * bound
    assert figures["lossless_header"] > 8 * 49, "and the first words"


def test_bits_back_is_left_out_where_the_likelihood_knows_no_levels(models, data):
    model = models["variational"]
    before, model.likelihood = model.likelihood, Bernoulli()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("narrows.compare.priors._random", lambda *_: {})
            figures, _ = measure(model, data, request(KL, 10))
    finally:
        model.likelihood = before
    assert figures == {}


def test_a_mixture_of_random_codes_is_their_aggregate_posterior_and_has_no_file(models, data):
    figures, prior = measure(models["variational"], data, request("mixture", 10))
    assert "file_bits" not in figures
    assert not prior.rounds
    assert figures["validation_bits"] > 0


class Geometric(Prior):
    """A user's prior without a way to files: p(k) proportional to 2^-k."""

    space = Indices
    coding = None

    def __init__(self, sites, size):
        super().__init__(sites)
        self.size = size

    def rate(self, latent):
        total = math.log(2 - 2.0 ** (1 - self.size))
        return (math.log(2) * latent.code + total).flatten(1).sum(1)

    def sample(self, n, generator=None):
        weights = 2.0 ** -torch.arange(self.size)
        count = n * math.prod(self.sites)
        return torch.multinomial(weights, count, True, generator=generator).view(n, *self.sites)


def test_a_prior_that_cannot_be_coded_with_is_measured_without_a_file(models, data):
    recipe = PriorRecipe("geometric", Geometric)
    (asked,) = requests(models["vq"], [recipe], files=10)
    figures, prior = measure(models["vq"], data, asked)
    code = torch.cat([latent.code for latent in latents(models["vq"], data.test)])
    exact = (code + math.log2(2 - 2.0**-15)).flatten(1).sum(1).mean()
    assert figures["bits_per_example"] == pytest.approx(float(exact), rel=1e-5)
    assert "file_bits" not in figures
    assert samples(models["vq"], prior, 3).shape == (3, *data.shape)


def test_priors_that_do_not_suit_are_passed_over_and_steps_are_for_rounded_codes(models):
    def asked(family):
        found = requests(models[family], [*shipped_recipes().values()], factors=[0.5, 4.0])
        return [(request.kind, request.factor) for request in found]

    indices = ("histogram", "pixelcnn", "transformer", "uniform")
    assert asked("vq") == [(kind, 1.0) for kind in indices]
    assert asked("categorical") == [*((kind, 1.0) for kind in indices), (KL, 1.0)]
    steps = (0.5, 1.0, 4.0)
    assert asked("plain") == [(kind, f) for kind in ("mixture", "quantized") for f in steps]
    assert asked("variational") == [
        ("mixture", 1.0), *(("quantized", f) for f in steps), (KL, 1.0),
    ]  # fmt: skip
    assert asked("slab") == [*(("quantized", f) for f in steps), (KL, 1.0)]
    sparse = ("factorial", "support", "tokens")
    assert asked("sparse") == [(kind, f) for kind in sparse for f in steps]
    assert requests(models["variational"], []) == []


def test_a_coarser_step_costs_fewer_bits_and_gives_back_less(models, data):
    for family, kind in (("plain", "quantized"), ("plain", "mixture"), ("sparse", "support")):
        fine, coarse = (
            measure(models[family], data, request(kind, 10, factor)) for factor in (1.0, 8.0)
        )
        assert coarse[0]["bits_per_example"] < fine[0]["bits_per_example"]
        code = next(latents(models[family], data.test)).code
        error = [_distance(prior.quantize(code), code) for _, prior in (fine, coarse)]
        assert error[1] > error[0]


def _distance(a, b):
    """Squared, of continuous codes and of sparse ones, which are canonical alike."""
    if isinstance(a, tuple):
        size = 1 + max(int(part.max()) for part in (a[0], b[0]))
        a, b = (
            torch.zeros(*atoms.shape[:-1], size).scatter_add(-1, atoms, values)
            for atoms, values in (a, b)
        )
    return float((a - b).square().sum())


def test_what_changes_the_result_changes_where_it_is_kept():
    def stem(kind, files=10, factor=1.0, seed=0, **changed):
        asked = request(kind, files, factor, seed, **changed)
        return _Coding("run", Source("digits", {}), asked).key

    base = stem("pixelcnn")
    assert (
        len({base, stem("pixelcnn", epochs=2), stem("pixelcnn", seed=1), stem("pixelcnn", 11)}) == 4
    )
    assert stem("pixelcnn", components=9) == base, "a PixelCNN has no components"
    assert stem("histogram", epochs=2) == stem("histogram"), "and a histogram no epochs"
    assert stem("quantized", factor=2.0) != stem("quantized")
