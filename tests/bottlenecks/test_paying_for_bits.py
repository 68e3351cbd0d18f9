"""What every family does whose choice of a code can pay for the bits."""

import math

import pytest
import torch

from narrows.bottlenecks import (
    OMP,
    BatchTopK,
    CodebookLearning,
    FiniteScalarQuantizer,
    Lasso,
    LookupFreeQuantizer,
    ResidualQuantizer,
    SimVQ,
    SparseDictionary,
    TopK,
    VectorQuantizer,
)
from narrows.bottlenecks.sparse.constraint import GRAIN, AtomConstraint
from narrows.codes import Atoms
from narrows.latent import Latent
from narrows.priors import MovingHistogram, MovingSparseFactorial, SparseFactorial
from narrows.testing import check_bottleneck, check_prior

STILL = CodebookLearning(init="kmeans", revive_after=None)
FAMILIES = {
    "vq": lambda: VectorQuantizer(16, 4, learning=STILL),
    "vq cosine": lambda: VectorQuantizer(16, 4, learning=STILL, metric="cosine"),
    "residual": lambda: ResidualQuantizer(VectorQuantizer(8, 4, learning=STILL), 2),
    "simvq": lambda: SimVQ(16, 4),
    "fsq": lambda: FiniteScalarQuantizer([3, 4, 2, 3]),
    "lfq": lambda: LookupFreeQuantizer(4),
    "spherical": lambda: LookupFreeQuantizer(4, True),
    "top-k": lambda: SparseDictionary(8, 4, coder=TopK(2)),
    "batch top-k": lambda: SparseDictionary(8, 4, coder=BatchTopK(2)),
    "omp": lambda: SparseDictionary(8, 4, coder=OMP(2)),
    "lasso": lambda: SparseDictionary(8, 4, coder=Lasso(0.1), target_l0=2.0),
    "implicit": lambda: SparseDictionary(8, 4, coder=OMP(2), gradient="implicit"),
    "image": lambda: SparseDictionary(12, 4, coder=OMP(4), sites=(3,)),
}


@pytest.fixture(params=FAMILIES)
def make(request):
    torch.manual_seed(0)
    return FAMILIES[request.param]


def features(bottleneck, n=200, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, bottleneck.in_features, generator=generator)


def followed(bottleneck, weight, steps=40):
    """Trained to follow the data at a weight of the rate; the prior beside it."""
    bottleneck.set_rate_weight(weight)
    prior = bottleneck.train().moving_prior((3,))
    for step in range(steps):
        with torch.no_grad():
            latents = [bottleneck(features(bottleneck, seed=step))]
        bottleneck.update(latents)
        prior.update(latents)
    return bottleneck.eval(), prior


@torch.no_grad()
def bits(bottleneck, prior):
    latent = bottleneck(features(bottleneck, 500, seed=1000))
    return float(prior.rate(latent).mean()), float((latent.z - latent.features).square().mean())


def test_the_contract_holds(make):
    bottleneck = make()
    sites = (3,) if bottleneck.per_site else bottleneck.shape[:-1]
    bottleneck.set_rate_weight(0.05)
    check_bottleneck(bottleneck, sites, export=isinstance(bottleneck, FiniteScalarQuantizer))
    if bottleneck.per_site:
        check_prior(bottleneck.moving_prior(sites), bottleneck)


def test_a_larger_weight_spends_fewer_bits_at_more_distortion(make):
    (most, least_error), (some, _), (fewest, most_error) = (
        bits(*followed(make(), weight)) for weight in (0.05, 0.4, 4.0)
    )
    assert most > some > fewest >= 0
    assert least_error < most_error


def test_its_prior_prices_the_codes_as_well_as_one_that_is_fitted(make):
    bottleneck, prior = followed(make(), 0.2)
    with torch.no_grad():
        latents = [bottleneck(features(bottleneck, seed=step)) for step in range(40)]
    fitted = bottleneck.moving_prior((3,)).fit(latents)
    assert bits(bottleneck, prior)[0] == pytest.approx(bits(bottleneck, fitted)[0], rel=0.05)


def test_a_model_that_came_to_pay_in_training_is_saved_with_its_weight(make):
    bottleneck, _ = followed(make(), 0.3, steps=4)
    again = make()
    assert again.rate_weight == 0
    again.load_state_dict(bottleneck.state_dict())
    assert again.rate_weight == pytest.approx(0.3)
    x = features(bottleneck, seed=7)
    assert torch.equal(again.eval()(x).z, bottleneck(x).z)


def test_before_a_weight_is_set_nothing_is_paid_and_saved(make):
    assert make().rate_weight == 0
    assert not any("constraint" in name for name in make().state_dict())


@pytest.mark.parametrize(
    "make",
    [
        lambda: SimVQ(16, 3, entropy_constraint=0.3),
        lambda: FiniteScalarQuantizer([4, 3, 3], entropy_constraint=0.3),
        lambda: LookupFreeQuantizer(3, entropy_constraint=0.3),
        lambda: LookupFreeQuantizer(3, True, entropy_constraint=0.3),
    ],
)
def test_the_choice_among_all_codes_minimises_distance_and_bits_together(make):
    torch.manual_seed(0)
    bottleneck, _ = followed(make(), 0.3)
    assert bottleneck.rate_argument.name == "bottleneck.entropy_constraint"
    assert isinstance(bottleneck.default_prior((3,)), MovingHistogram)
    bottleneck, x = bottleneck.double(), features(bottleneck).double().flatten(0, 1)
    constraint, codes = bottleneck.constraint, bottleneck.codewords
    log_p = ((constraint.counts + 1) / (constraint.counts.sum() + len(codes))).log()
    place = bottleneck._compared(x)
    cost = torch.cdist(place, codes).square() - constraint.strength * constraint.variance * log_p
    assert torch.equal(bottleneck(x).code, cost.argmin(1))
    nearest = torch.cdist(place, codes).argmin(1)
    assert (bottleneck(x).code != nearest).any()


@pytest.mark.parametrize("strength", [0.0, -1.0, float("inf")])
def test_a_lambda_that_is_not_positive_and_finite_is_refused(strength):
    with pytest.raises(ValueError, match="entropy_constraint"):
        FiniteScalarQuantizer([4, 4], entropy_constraint=strength)


def test_values_are_rounded_to_what_costs_least_in_error_and_bits():
    # Every whole number is tried, and priced by the prior itself.
    constraint = AtomConstraint(3, 0.02).double()
    prior = constraint.prior
    prior.activation.copy_(torch.tensor([0.3, 0.05, 0.6]))
    prior.ratio.copy_(torch.tensor([0.7, 0.3, 0.01]))
    prior.positive.copy_(torch.tensor([0.5, 0.9, 0.2]))
    values = torch.linspace(-4, 4, 801, dtype=torch.float64)[:, None]
    width = math.sqrt(6 * 0.02)
    grid = torch.arange(-20, 21)
    for atom in range(3):
        rates = []
        for q in grid:
            value = torch.tensor([[float(q) * GRAIN]]).double()
            rates.append(prior.rate(Latent(value, prior.quantize(_code(atom, value)), value)))
        cost = (values - grid * width).square() + 0.02 * torch.stack(rates).T
        best = grid[cost.argmin(1)] * GRAIN
        found = constraint.round(torch.full((801, 1), atom), values)[:, 0]
        # Where two cost the same to rounding either may be taken.
        assert (found != best).sum() <= 4
        assert (found == 0).sum() > (values.abs() < width / 2).sum()


def _code(atom, value):
    return Atoms(torch.full_like(value, atom, dtype=torch.int64), value)


def test_a_step_that_goes_to_zero_changes_nothing():
    torch.manual_seed(0)
    plain, fine = (SparseDictionary(8, 4, coder=OMP(2)).eval() for _ in range(2))
    fine.load_state_dict(plain.state_dict())
    fine.set_rate_weight(1e-10)
    x = features(plain)
    assert torch.allclose(plain(x).z, fine(x).z, atol=1e-4)
    kept = fine(x)
    assert torch.equal(kept.code.atoms, plain(x).code.atoms)


def test_a_sparse_prior_that_follows_without_memory_is_one_that_is_fitted():
    torch.manual_seed(0)
    bottleneck = SparseDictionary(8, 4, coder=OMP(2))
    bottleneck.set_rate_weight(0.5)
    latents = [bottleneck(features(bottleneck, seed=seed)) for seed in range(2)]
    moving = MovingSparseFactorial((3,), 8, decay=0.0)
    moving.update([latents[1]])
    moving.update(latents)
    fitted = SparseFactorial((3,), 8).fit(latents)
    for name, value in fitted.named_buffers():
        assert torch.allclose(value, dict(moving.named_buffers())[name])


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(ValueError, match="decay"):
        MovingSparseFactorial((), 4, decay=decay)


def test_dropped_atoms_do_not_count_as_a_target_missed():
    torch.manual_seed(0)
    bottleneck = SparseDictionary(16, 6, coder=Lasso(0.3), target_l0=3.0)
    bottleneck.set_rate_weight(0.7)
    for step in range(150):
        with torch.no_grad():
            latent = bottleneck(features(bottleneck, seed=step))
        bottleneck.update([latent])
    assert latent.stats["found_sum"] / 600 == pytest.approx(3.0, rel=0.2)
    assert latent.stats["l0_sum"] / 600 < 2


def test_code_values_are_whole_multiples_of_the_grain():
    bottleneck, prior = followed(SparseDictionary(8, 4, coder=TopK(2)), 0.8)
    code = bottleneck(features(bottleneck)).code
    scaled = code.values / GRAIN
    assert torch.equal(scaled, scaled.round())
    assert all(map(torch.equal, prior.quantize(code), code))
