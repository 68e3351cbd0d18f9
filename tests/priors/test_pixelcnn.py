"""PixelCNN sees all of the past and nothing of the future, and is a distribution."""

import itertools

import pytest
import torch
from scipy import stats

from narrows.functional.conditionals import follow
from narrows.functional.fixed_point import draw, freeze, masses
from narrows.latent import Latent
from narrows.priors.pixelcnn import PixelCNN
from narrows.recorded import build, spec


def latent(code):
    return Latent(z=torch.zeros(code.shape[0], 1), code=code, features=torch.zeros(0))


def make(sites, size, channels=None, seed=0, scale=3.0, **kwargs):
    """A PixelCNN whose random weights are large enough for codes to depend on each other."""
    torch.manual_seed(seed)
    prior = PixelCNN(sites, size, channels=channels, **kwargs)
    for weight in prior.parameters():
        weight.data.add_(0.2 * torch.randn_like(weight))
    for head in prior.logits_of:
        head.weight.data.mul_(scale)
    return prior


def sample_by_whole_maps(prior, n, generator):
    """The slow way: evaluates the whole map anew for every code."""
    exact = freeze(prior)
    code = torch.zeros(n, *prior.sites, prior.per_site, dtype=torch.long)
    for r, c in itertools.product(*map(range, prior.sites)):
        for j in range(prior.per_site):
            with torch.no_grad():
                seen = code if prior.channels else code[..., 0]
                logits = exact.logits(seen).view(n, *prior.sites, prior.per_site, -1)
            uniform = torch.rand(n, generator=generator, dtype=torch.float64)
            code[:, r, c, j] = draw(masses(logits[:, r, c, j]), uniform)
    return code if prior.channels else code[..., 0]


def test_each_site_depends_on_every_earlier_site_and_on_no_other():
    prior = make((6, 7), 5, hidden=8, layers=6, kernel=3).double()
    embedded = torch.randn(1, 8, 6, 7, dtype=torch.float64, requires_grad=True)
    for r, c in itertools.product(range(6), range(7)):
        out = prior._features(embedded, None)[0, r, c].sum()
        (gradient,) = torch.autograd.grad(out, embedded)
        seen = gradient.abs().sum(1)[0] > 0
        position = torch.arange(42).view(6, 7)
        assert torch.equal(seen, position < r * 7 + c), f"site {r}, {c}"


def test_later_stages_see_earlier_stages_of_the_same_site_only():
    prior = make((2, 2), 4, channels=3, hidden=8, layers=2)
    code = torch.randint(4, (1, 2, 2, 3))
    before = prior.logits(code)
    for stage in range(3):
        other = code.clone()
        other[0, 1, 0, stage] = (other[0, 1, 0, stage] + 1) % 4
        changed = (prior.logits(other) - before).abs().amax(-1)[0] > 0
        expected = torch.zeros(2, 2, 3, dtype=torch.bool)
        expected[1, 0, stage + 1 :] = True
        expected[1, 1] = True
        assert torch.equal(changed, expected)


@pytest.mark.parametrize(("channels", "size"), [(None, 3), (2, 2)])
def test_probabilities_of_all_maps_sum_to_one(channels, size):
    prior = make((2, 2), size, channels, hidden=8, layers=2).double()
    shape = (2, 2, channels) if channels else (2, 2)
    numbers = torch.tensor(list(itertools.product(range(size), repeat=4 * (channels or 1))))
    rate = prior.rate(latent(numbers.view(-1, *shape)))
    assert torch.exp(-rate).sum().item() == pytest.approx(1.0, abs=1e-6)
    assert rate.std() > 0.1  # no uniform distribution, for which this would be easy


def test_class_conditional_probabilities_sum_to_one_and_differ():
    prior = make((1, 2), 3, hidden=8, layers=1, classes=2).double()
    maps = torch.tensor(list(itertools.product(range(3), repeat=2))).view(-1, 1, 2)
    assert torch.exp(-prior.rate(latent(maps))).sum().item() == pytest.approx(1.0, abs=1e-6)
    first, second = (prior.log_prob(maps, torch.full((9,), k)) for k in range(2))
    assert (first - second).abs().max() > 0.1


@pytest.mark.parametrize("channels", [None, 2])
def test_cached_samples_equal_those_of_whole_maps_bit_for_bit(channels):
    prior = make((4, 5), 6, channels, hidden=16, layers=3)
    fast = prior.sample(7, torch.Generator().manual_seed(3))
    slow = sample_by_whole_maps(prior, 7, torch.Generator().manual_seed(3))
    assert torch.equal(fast, slow)
    assert fast.unique().numel() == 6


@pytest.mark.parametrize("channels", [None, 2])
def test_cached_weights_equal_those_of_the_whole_map_bit_for_bit(channels):
    prior = make((3, 4), 6, channels, hidden=16, layers=3)
    code = prior.sample(5, torch.Generator().manual_seed(0))
    symbols = code.flatten(1).unbind(1)
    cached, whole = [], []

    def replay(step):
        cached.append(step.weights)
        return symbols[len(cached) - 1]

    def note(step):
        whole.append(step.weights)
        return step.known

    follow(prior.conditionals(5), replay)
    follow(prior.conditionals(5, code), note)
    assert len(cached) == len(whole) == len(symbols)
    assert all(map(torch.equal, cached, whole))


def test_exact_evaluation_costs_next_to_nothing_in_bits():
    prior = make((4, 4), 16, hidden=32, layers=3)
    code = prior.sample(200, torch.Generator().manual_seed(0))
    logits = freeze(prior).logits(code).flatten(0, 2)
    exact = torch.nn.functional.cross_entropy(logits, code.flatten()) * 16
    assert exact.item() == pytest.approx(prior.rate(latent(code)).mean().item(), rel=1e-3)


def test_samples_follow_the_enumerated_distribution():
    prior = make((1, 3), 3, hidden=8, layers=2)
    maps = torch.tensor(list(itertools.product(range(3), repeat=3))).view(-1, 1, 3)
    p = torch.exp(-prior.rate(latent(maps))).detach().double().numpy()
    drawn = prior.sample(20000, torch.Generator().manual_seed(1)).flatten(1)
    counts = torch.bincount(drawn @ torch.tensor([9, 3, 1]), minlength=27).numpy()
    expected = p / p.sum() * 20000
    assert expected.min() > 5  # as the test's approximation requires
    assert stats.chisquare(counts, expected).pvalue > 1e-3


def test_low_temperature_and_top_one_choose_the_likeliest_code():
    prior = make((2, 2), 5, hidden=8, layers=2)
    by_top = prior.sample(4, torch.Generator().manual_seed(0), top_k=1)
    cold = prior.sample(4, torch.Generator().manual_seed(9), temperature=1e-3)
    assert torch.equal(by_top, cold)
    assert torch.equal(by_top, by_top[:1].expand(4, 2, 2))


def test_constructor_arguments_round_trip():
    prior = PixelCNN((3, 3), 4, channels=2, hidden=8, layers=1, classes=2)
    again = build(spec(prior))
    again.load_state_dict(prior.state_dict())
    code = torch.randint(4, (2, 3, 3, 2))
    assert torch.equal(again.rate(latent(code)), prior.rate(latent(code)))


def test_an_empty_batch_works():
    prior = PixelCNN((2, 2), 4, hidden=8, layers=1)
    assert prior.sample(0).shape == (0, 2, 2)
    assert prior.rate(latent(torch.zeros(0, 2, 2, dtype=torch.long))).shape == (0,)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (torch.zeros(1, 2, 2), "integer indices"),
        (torch.zeros(1, 3, 3, dtype=torch.long), "build the prior"),
        (torch.full((1, 2, 2), 4), "indices in 0..3"),
    ],
)
def test_codes_that_do_not_fit_are_refused(code, message):
    prior = PixelCNN((2, 2), 4, hidden=8, layers=1)
    with pytest.raises(ValueError, match=message):
        prior.rate(latent(code))


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match="map of sites"):
        PixelCNN((4,), 4)
    with pytest.raises(ValueError, match="odd kernel"):
        PixelCNN((4, 4), 4, kernel=4)
    with pytest.raises(ValueError, match="temperature"):
        PixelCNN((2, 2), 4, hidden=8, layers=1).sample(1, temperature=0.0)


def test_a_walk_without_a_class_costs_the_mean_probability_of_all_classes():
    prior = make((2, 3), 5, hidden=8, layers=2, classes=3)
    code = prior.sample(40, torch.Generator().manual_seed(0))
    spent = torch.zeros(40, dtype=torch.float64)

    def pay(step):
        nonlocal spent
        p = step.weights.double() / step.weights.sum(1, keepdim=True)
        spent -= p.gather(1, step.known[:, None])[:, 0].log()
        return step.known

    assert torch.equal(follow(prior.conditionals(40, code), pay), code)
    with torch.no_grad():
        nats = -prior.log_prob(code).double()
    assert torch.allclose(spent, nats, atol=0.01 * float(nats.mean()))
    # Certain of no class: the cost is another than that of any single class.
    each = torch.stack([-prior.log_prob(code, torch.full((40,), k)) for k in range(3)])
    assert bool((nats > each.min(0).values).all())
