import math

import pytest
import torch
from scipy import stats
from scipy.integrate import quad

from narrows.distributions import Cauchy, Laplace, Normal, Student, divergence_is_finite
from narrows.recorded import build, spec

PAIRS = [
    (Normal(), stats.norm()),
    (Laplace(), stats.laplace()),
    (Cauchy(), stats.cauchy()),
    (Student(3.0), stats.t(3.0)),
    (Student(0.7), stats.t(0.7)),
]
IDS = ["normal", "laplace", "cauchy", "student-3", "student-0.7"]


@pytest.mark.parametrize(("family", "reference"), PAIRS, ids=IDS)
def test_noise_passes_a_kolmogorov_smirnov_test(family, reference):
    generator = torch.Generator().manual_seed(3)
    draws = family.noise(torch.empty(20_000, dtype=torch.float64), generator)
    assert stats.kstest(draws.numpy(), reference.cdf).pvalue > 0.01


@pytest.mark.parametrize(("family", "reference"), PAIRS, ids=IDS)
def test_posterior_samples_pass_a_kolmogorov_smirnov_test(family, reference):
    torch.manual_seed(4)
    member = family.at(torch.tensor([2.0]), torch.tensor([0.5]))
    draws = (member.sample((20_000,)).flatten() - 2.0) / 0.5
    assert stats.kstest(draws.numpy(), reference.cdf).pvalue > 0.01


@pytest.mark.parametrize(("family", "reference"), PAIRS, ids=IDS)
def test_log_densities_agree_with_scipy(family, reference):
    z = torch.linspace(-30, 30, 61, dtype=torch.float64)
    member = family.at(torch.full_like(z, 1.5), torch.full_like(z, 0.3))
    expected = reference.logpdf((z.numpy() - 1.5) / 0.3) - math.log(0.3)
    assert torch.allclose(member.log_prob(z), torch.as_tensor(expected), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("family", [Normal(2.0), Laplace(0.5), Cauchy(3.0), Student(4.0, 2.0)])
def test_the_standard_member_integrates_to_one_and_has_its_own_scale(family):
    standard = family.standard(torch.zeros((), dtype=torch.float64))

    def density(z):
        return standard.log_prob(torch.tensor(z, dtype=torch.float64)).exp().item()

    assert 2 * quad(density, 0, math.inf)[0] == pytest.approx(1, abs=1e-7)
    assert float(standard.scale) == family.scale


@pytest.mark.parametrize("family", [f for f, _ in PAIRS], ids=IDS)
def test_a_generator_makes_noise_reproducible_and_leaves_the_global_one_alone(family):
    before = torch.random.get_rng_state()
    draws = [family.noise(torch.empty(5), torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(*draws)
    assert torch.equal(before, torch.random.get_rng_state())


def test_divergences_are_finite_exactly_where_the_moment_exists():
    assert not divergence_is_finite(Cauchy(), Normal())
    assert not divergence_is_finite(Cauchy(), Laplace())
    assert not divergence_is_finite(Student(2.0), Normal())  # the variance is infinite at df = 2
    assert divergence_is_finite(Student(2.1), Normal())
    assert divergence_is_finite(Student(1.1), Laplace())
    assert not divergence_is_finite(Student(1.0), Laplace())
    assert divergence_is_finite(Cauchy(), Student(5.0))
    assert divergence_is_finite(Normal(), Cauchy())


def test_a_family_is_rebuilt_from_its_description():
    twin = build(spec(Student(2.5, scale=3.0)))
    assert (twin.df, twin.scale, twin.moments) == (2.5, 3.0, 2.5)


@pytest.mark.parametrize(
    "make", [lambda: Normal(0.0), lambda: Student(-1.0), lambda: Laplace(math.inf)]
)
def test_meaningless_parameters_are_refused(make):
    with pytest.raises(ValueError, match="positive"):
        make()


def test_at_equal_interquartile_range_the_laplace_has_most_mass_near_zero():
    """Heavy tails are not sparsity: the Cauchy lies between the normal and the Laplace."""
    mass = {}
    for name, reference in (
        ("normal", stats.norm),
        ("laplace", stats.laplace),
        ("cauchy", stats.cauchy),
    ):
        scale = stats.norm.ppf(0.75) / reference.ppf(0.75)
        mass[name] = reference.cdf(0.1, scale=scale) - reference.cdf(-0.1, scale=scale)
    assert mass["normal"] == pytest.approx(0.080, abs=5e-4)
    assert mass["laplace"] == pytest.approx(0.098, abs=5e-4)
    assert mass["cauchy"] == pytest.approx(0.094, abs=5e-4)


def test_a_normal_of_exponential_variance_is_a_laplace():
    """So a posterior of another family than the prior's can still match it in the mean."""
    generator = torch.Generator().manual_seed(0)
    variance = torch.empty(50_000, dtype=torch.float64).exponential_(0.5, generator=generator)
    z = Normal().noise(variance, generator) * variance.sqrt()
    assert stats.kstest(z.numpy(), stats.laplace.cdf).pvalue > 0.01
