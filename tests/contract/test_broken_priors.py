"""An honest prior passes the contract; each way of breaking it is caught by its rule."""

import math

import pytest
import torch

import narrows as nw
from narrows.codes import Indices, Values
from narrows.functional.conditionals import Conditional
from narrows.testing import ContractError, check_prior


class Honest(nw.Prior):
    """Independent indices, counted."""

    space = Indices

    def __init__(self, sites: tuple[int, ...], size: int) -> None:
        super().__init__(sites)
        self.size = size
        self.register_buffer("counts", torch.ones(size, dtype=torch.long))

    def fit(self, latents):
        self.counts.fill_(1)
        for latent in latents:
            self.counts += torch.bincount(latent.code.flatten(), minlength=self.size)
        return self

    def rate(self, latent):
        code = Indices(self.size).check(latent.code, self.sites)
        return -(self.counts / self.counts.sum()).log()[code.flatten(1)].sum(1)

    def conditionals(self, n, code=None):
        rows = n * math.prod(self.sites)
        known = None if code is None else code.flatten()
        index = yield Conditional(self.counts, rows, known)
        return index.view(n, *self.sites)


def check(prior_class):
    check_prior(prior_class((2, 3), size=8), nw.VectorQuantizer(8, 4))


def test_an_honest_prior_passes():
    check(Honest)


class ForOtherCodes(Honest):
    space = Values


class TakesAnyCodes(Honest):
    @classmethod
    def check_suits(cls, codes, sites):
        pass


class FitReturnsNothing(Honest):
    def fit(self, latents):
        super().fit(latents)


class FitsOnTop(Honest):
    def fit(self, latents):
        before = self.counts.clone()
        super().fit(latents)
        self.counts += before
        return self


class UnseenIsInfinite(Honest):
    def fit(self, latents):
        super().fit(latents)
        self.counts -= 1
        self.counts[int(next(iter(latents)).code.flatten()[0])] = 0
        return self


class LooksAtTheBatch(Honest):
    def rate(self, latent):
        rate = super().rate(latent)
        return rate - rate.mean() if len(rate) else rate


class LearnsWhenAsked(Honest):
    def rate(self, latent):
        rate = super().rate(latent)
        self.counts += 1
        return rate


class QuantizesOn(Honest):
    def quantize(self, code):
        return (code + 1) % self.size


class DrawsOutside(Honest):
    def sample(self, n, generator=None):
        return super().sample(n, generator) + 1


class IgnoresTheGenerator(Honest):
    def sample(self, n, generator=None):
        return super().sample(n)


class RateOfAUniform(Honest):
    def rate(self, latent):
        return super().rate(latent) * 0 + 6 * math.log(self.size)


class OthersWeightsWhenReading(Honest):
    """Rounds otherwise when the code is not known, as a batched and a stepwise network may."""

    def conditionals(self, n, code=None):
        walk = super().conditionals(n, code)
        step = next(walk)
        if code is None:
            step = step._replace(weights=1000 * step.weights + 1)
        try:
            walk.send((yield step))
        except StopIteration as end:
            return end.value


class DrawsUniformly(Honest):
    def sample(self, n, generator=None):
        return torch.randint(self.size, (n, *self.sites), generator=generator)


class ForgetsState(Honest):
    def __init__(self, sites: tuple[int, ...], size: int) -> None:
        super().__init__(sites, size)
        counts = self.counts
        del self.counts
        self.counts = counts


@pytest.mark.parametrize(
    ("mutant", "rule"),
    [
        (ForOtherCodes, "codes_are_as_declared"),
        (TakesAnyCodes, "codes_are_as_declared"),
        (FitReturnsNothing, "fit_returns_itself"),
        (FitsOnTop, "fit_returns_itself"),
        (UnseenIsInfinite, "rate_is_finite_for_each_example"),
        (LooksAtTheBatch, "examples_are_independent"),
        (LearnsWhenAsked, "use_changes_no_state"),
        (QuantizesOn, "quantize_is_idempotent"),
        (DrawsOutside, "samples_are_codes"),
        (IgnoresTheGenerator, "samples_are_codes"),
        (RateOfAUniform, "rate_is_that_of_the_conditionals"),
        (OthersWeightsWhenReading, "a_reader_finds_the_writers_conditionals"),
        (DrawsUniformly, "samples_follow_the_conditionals"),
        (ForgetsState, "state_can_be_saved"),
    ],
)
def test_each_broken_prior_is_caught_by_its_rule(mutant, rule):
    with pytest.raises(ContractError, match=f"^{rule}:"):
        check(mutant)


P = nw.priors
VECTORS_OF_EIGHT = nw.VectorQuantizer(8, 4)
VECTORS, PLAIN = nw.VectorQuantizer(16, 8), nw.Identity(3)
ATOMS = nw.SparseDictionary(12, 6, coder=nw.OMP(2))
BOTH = nw.Split([nw.Identity(2), nw.VectorQuantizer(8, 2)])
OURS = {
    "categorical": (P.CategoricalPrior((2, 3), 16), VECTORS),
    "uniform": (P.UniformCategorical((2, 3), 16), VECTORS),
    "pixelcnn": (P.PixelCNN((3, 4), 16, hidden=8), VECTORS),
    "transformer": (P.AutoregressiveTransformer((5,), 16, hidden=16, depth=1, heads=2), VECTORS),
    "factorial": (P.Factorial((2,), 4), nw.Variational(4)),
    "spike-and-slab": (P.SpikeAndSlabPrior((2,), 3), nw.SpikeAndSlab(3)),
    "histogram": (P.QuantizedHistogram((2, 2), 3, step=0.1), PLAIN),
    "mixture": (P.GaussianMixture((2,), 3), PLAIN),
    "sparse-factorial": (ATOMS.default_prior((2, 2)), ATOMS),
    "sparse-mixture": (P.SparseMixture.for_codes(ATOMS.codes, (2, 2)), ATOMS),
    "sparse-autoregressive": (P.SparseAutoregressive.for_codes(ATOMS.codes, (2, 2)), ATOMS),
    "joint": (BOTH.default_prior((2,)), BOTH),
}


@pytest.mark.parametrize(("prior", "bottleneck"), OURS.values(), ids=OURS.keys())
def test_the_contract_holds(prior, bottleneck):
    check_prior(prior, bottleneck)


def test_the_check_leaves_the_prior_and_the_random_numbers_alone():
    prior = Honest((2, 3), size=8)
    generator = torch.random.get_rng_state()
    check_prior(prior, VECTORS_OF_EIGHT)
    assert torch.equal(generator, torch.random.get_rng_state())
    assert torch.equal(prior.counts, torch.ones(8, dtype=torch.long))
