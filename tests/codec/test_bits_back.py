"""Bits-back files cost the evidence bound, plus a header that they state."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

import narrows as nw
from narrows import distributions as families
from narrows.bottlenecks import SpikeAndSlab, Variational
from narrows.codec import Codec, CodecError, bits_back, grid
from narrows.codec.bits_back import BitsBack
from narrows.codec.container import overhead, unpack
from narrows.codec.entropy import Stack
from narrows.codec.rounding import Networks, Rounding
from narrows.distributions import SpikeSlab, StudentT
from narrows.likelihoods import DiscretizedLogisticMixture


def evidence_bits(model, unit, draws=8):
    """The negative evidence bound of a set in bits, the pixels by Monte Carlo."""
    torch.manual_seed(0)
    with torch.no_grad():
        latent = model.latent(unit)
        if isinstance(latent.posterior, (SpikeSlab, StudentT)):
            bound = torch.zeros(len(unit))  # below: log q - log p of the same draws
        else:
            bound = model.prior.rate(latent)
        for _ in range(draws):
            code = latent.posterior.sample()
            z = model.bottleneck.embed(code)
            bound = bound - model.likelihood.log_prob(unit, model.decoder(z)) / draws
            if isinstance(latent.posterior, (SpikeSlab, StudentT)):
                log_q = latent.posterior.log_prob(code).flatten(1).sum(1)
                bound = bound + (log_q - model.prior.log_prob(code)) / draws
    return bound.sum().item() / math.log(2)


def test_bits_back_files_are_as_large_as_the_evidence_bound_and_lossless(variational, digits):
    codec = Codec(variational, lossless=True)
    x = digits.train.images[:1000]
    blob = codec.compress(x)
    assert torch.equal(codec.decompress(blob), x)
    expected = evidence_bits(variational, x.float() / 255)
    real = 8 * len(blob) - codec.header_bits(blob)
    assert abs(real - expected) <= 0.01 * expected
    # The first words serve one image's draws; spread over all they are next to nothing.
    assert codec.header_bits(blob) < 0.005 * expected


@pytest.mark.parametrize(
    "bottleneck",
    [
        lambda: SpikeAndSlab(4),
        lambda: Variational(3, families.Laplace()),
        lambda: Variational(3, families.Normal(), prior=families.Cauchy()),
        lambda: Variational(3, families.Student(df=4.0), squash=False),
        lambda: Variational(3, families.Normal(), prior=families.Normal(2e3)),
    ],
    ids=["spike-and-slab", "laplace", "normal-cauchy", "student", "wide prior"],
)
@pytest.mark.filterwarnings("ignore:Variational")
def test_every_random_latent_is_coded_at_its_evidence_bound(train_briefly, digits, bottleneck):
    model = train_briefly(bottleneck(), DiscretizedLogisticMixture(3), steps=60)
    codec = Codec(model, lossless=True)
    x = digits.train.images[:150]
    blob = codec.compress(x)
    assert torch.equal(codec.decompress(blob), x)
    expected = evidence_bits(model, x.float() / 255, draws=32)
    assert abs(8 * len(blob) - codec.header_bits(blob) - expected) <= 0.01 * expected


def test_the_header_is_the_container_and_the_first_words(variational, digits):
    codec = Codec(variational, lossless=True)
    for n in (0, 1, 5):
        blob = codec.compress(digits.train.images[:n])
        _, payload = unpack(blob)
        words = bits_back.first_words(payload)
        assert codec.header_bits(blob) == 8 * overhead(3) + 32 + 32 * words
        assert (words > 0) == (n > 0)
        assert len(payload) >= 4 * (1 + words)


def test_headers_of_other_files_are_the_container_alone(models, digits):
    codec = Codec(*models["vq"])
    assert codec.header_bits(codec.compress(digits.train.images[:3])) == 8 * overhead(3)


def test_a_file_that_states_another_number_of_first_words_is_refused(variational, digits):
    x = digits.train.images[:2]
    coder = BitsBack(Networks(variational), variational.prior)
    payload, notes = coder.write(x.long())
    for count in (0, bits_back.first_words(payload) + 1, 2**32 - 1):
        forged = count.to_bytes(4, "little") + payload[4:]
        with pytest.raises(CodecError, match="does not end where it began"):
            coder.read(forged, notes, n=2)


def test_a_model_without_a_random_code_is_refused_with_the_reason(models, variational, digits):
    model, _ = models["vq"]
    with pytest.raises(TypeError, match=r"is for continuous values.*makes integer"):
        Codec(model, variational.prior, lossless=True)
    with pytest.raises(TypeError, match="bits-back coding knows"):
        grid.placed(torch.distributions.Gumbel(0.0, 1.0))


def test_bits_back_is_cheaper_than_paying_for_the_draw(variational, digits):
    """Without getting bits back a draw of z on the grid costs -log p(z) and the pixels."""
    x = digits.train.images[:500]
    blob = Codec(variational, lossless=True).compress(x)
    unit = x.float() / 255
    with torch.no_grad():
        z = variational.latent(unit).posterior.sample()
        pixels = -variational.likelihood.log_prob(
            unit, variational.decoder(variational.bottleneck.embed(z))
        )
        draws = -(variational.prior.log_prob(z) + z[0].numel() * math.log(2**-6))
    assert 8 * len(blob) < 0.9 * (pixels + draws).sum().item() / math.log(2)


def some(n=4000):
    """One distribution of each family, n dimensions, and the slab's gates where it has any."""
    loc = torch.linspace(-2, 2, n).double()
    scale = torch.linspace(0.3, 1.5, n).double()
    return {
        "normal": torch.distributions.Normal(loc, scale),
        "laplace": torch.distributions.Laplace(loc, scale),
        "cauchy": torch.distributions.Cauchy(loc, scale),
        "student": StudentT(4.0, loc, scale=scale),
        "spike and slab": SpikeSlab(torch.linspace(-3, 3, n).double(), loc, scale=scale),
    }


def random_stack(words):
    numbers = np.random.default_rng(0).integers(1, 2**32, words, dtype=np.uint64)
    return Stack(numbers.astype(np.uint32))


def standard(n, scale=1.0):
    """The prior of each family, n dimensions."""
    like = torch.zeros(n).double()
    return {
        "normal": torch.distributions.Normal(like, like + scale),
        "laplace": torch.distributions.Laplace(like, like + scale),
        "cauchy": torch.distributions.Cauchy(like, like + scale),
        "student": StudentT(4.0, like, scale=like + scale),
        "spike and slab": SpikeSlab(like - 1, like, scale=like + scale),
    }


@pytest.mark.parametrize("name", list(some(1)))
def test_draws_leave_the_stack_as_it_was_and_follow_their_posterior(name):
    q, p = some()[name], standard(4000)[name]
    stack = random_stack(6000)
    before = stack.words().copy()
    whole = grid.posterior(q, q, p, Rounding())
    draw = stack.pop(grid.draw(whole, whole.depth))
    stack.push(grid.draw(whole, whole.depth, draw))
    assert np.array_equal(stack.words(), before)
    values = draw.values(p, whole.depth).numpy()
    rows = np.arange(len(q.loc)) if draw.gates is None else np.flatnonzero(draw.gates)
    found = (values[rows] - q.loc.numpy()[rows]) / q.scale.numpy()[rows]
    family = {"laplace": stats.laplace(), "cauchy": stats.cauchy(), "student": stats.t(4.0)}
    # Values on a grid are never those of a continuous law exactly; a block is 3-6 % of a scale.
    assert stats.kstest(found, family.get(name, stats.norm()).cdf).pvalue > 1e-3
    if draw.gates is not None:
        p = q.logits.sigmoid().numpy()
        deviation = (draw.gates - p).sum() / math.sqrt((p * (1 - p)).sum())
        assert abs(deviation) < 3.5
        assert bool((draw.cells[~draw.gates] == 0).all())
        assert bool((values[~draw.gates] == 0).all())


@pytest.mark.parametrize("depth", [5, 17, 30])
@pytest.mark.parametrize("name", list(some(1)))
def test_codes_come_back_from_their_prior_at_its_cost(name, depth):
    n = 4000
    p = standard(n, scale=70.0)[name]
    torch.manual_seed(0)
    z = p.sample()
    cells = (z / 70 * 2**depth).floor().long().numpy()
    draw = grid.Draw(cells, (z != 0).numpy() if name == "spike and slab" else None)
    stack = random_stack(10)
    stack.push(grid.prior(p, depth, draw))
    spent = 32 * len(stack) - 320
    again = stack.pop(grid.prior(p, depth))
    assert np.array_equal(again.cells, draw.cells)
    assert (again.values(p, depth) - z).abs().max() <= 70 * 2.0**-depth
    cell = math.log(70.0) - depth * math.log(2)
    if draw.gates is None:
        nats = -(p.log_prob(z) + cell).sum()
    else:
        assert np.array_equal(again.gates, draw.gates)
        gates = torch.from_numpy(draw.gates)
        slab = torch.distributions.Normal(p.loc, p.scale)
        cost = torch.where(gates, -slab.log_prob(z) - cell, 0.0).sum()
        bernoulli = torch.distributions.Bernoulli(logits=p.logits)
        nats = cost - bernoulli.log_prob(gates.double()).sum()
    tolerance = 0.01 if name == "cauchy" else 0.001  # the distance of far codes costs more
    assert abs(spent - nats / math.log(2)) < tolerance * spent + 64


FAMILIES = {
    "normal": (torch.distributions.Normal, 6e-7),
    "laplace": (torch.distributions.Laplace, 7e-6),
    "cauchy": (torch.distributions.Cauchy, 0.0027),
    "student": (lambda loc, scale: StudentT(4.0, loc, scale=scale), 1e-6),
}
"""By family the share of a posterior that is cut off."""


@pytest.mark.parametrize("mean", [0.0, -2.0, 5.0])
@pytest.mark.parametrize("scale", [0.001, 0.1, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("name", FAMILIES)
def test_posteriors_of_any_width_cost_at_most_their_divergence(name, scale, mean):
    n, (family, cut) = 6000, FAMILIES[name]
    like = torch.ones(n).double()
    q, p = family(mean * like, scale * like), family(0 * like, like)
    stack = random_stack(12_000)
    before = len(stack)
    whole = grid.posterior(q, q, p, Rounding())
    draw = stack.pop(grid.draw(whole, whole.depth))
    stack.push(grid.prior(p, whole.depth, draw))
    spent = 32 * (len(stack) - before)
    z = draw.values(p, whole.depth)
    ratio = (q.log_prob(z) - p.log_prob(z)) / math.log(2)
    most = ratio.sum().item() - n * math.log2(1 - cut)
    slope = max(1, abs(mean)) / 64 / math.log(2) if scale < 0.1 else 0  # within a coarse cell
    assert spent <= most + (0.004 + slope) * n + 64
    if (z.abs() < 5).all() or name == "cauchy":  # farther out the floor makes files smaller
        assert spent >= most - (0.006 + slope) * n - 64
    if name != "student":
        divergence = torch.distributions.kl_divergence(q, p).sum().item() / math.log(2)
        noise = 4 * ratio.std().item() * math.sqrt(n)
        assert spent <= 1.01 * divergence + noise + 64


def test_draws_are_random_whatever_was_pushed_before():
    p, q = standard(3000)["normal"], torch.distributions.Normal(torch.zeros(3000).double(), 1.0)
    far = grid.Draw(np.full(3000, 20 << 5))  # every code at 20 scales, which p rules out
    whole, stack = grid.posterior(q, q, p, Rounding()), random_stack(10)
    for _ in range(2):
        stack.push(grid.prior(p, whole.depth, far))
    before = stack.words().copy()
    stack.stir(7, whole.bits)
    draw = stack.pop(grid.draw(whole, whole.depth))
    values = draw.values(p, whole.depth).numpy()
    assert stats.kstest(values, stats.norm().cdf).pvalue > 1e-3
    stack.push(grid.draw(whole, whole.depth, draw))
    stack.stir(7, whole.bits)
    assert np.array_equal(stack.words(), before)


@pytest.mark.parametrize(("mean", "log_scale"), [(5.0, 0.0), (0.0, 2.3), (2.0, -6.9)])
def test_files_of_posteriors_unlike_the_prior_are_no_larger_than_the_bound(mean, log_scale):
    torch.manual_seed(0)
    bottleneck = Variational(4, squash=False)
    model = nw.Autoencoder.for_images(
        (1, 8, 8),
        bottleneck,
        network=nw.networks.Mlp((8,)),
        likelihood=DiscretizedLogisticMixture(2),
    )
    last = [part for part in model.encoder.modules() if isinstance(part, torch.nn.Linear)][-1]
    with torch.no_grad():
        last.weight.mul_(0.01)
        last.bias.copy_(torch.tensor([mean, log_scale]).repeat_interleave(4))
    images = torch.randint(0, 256, (150, 1, 8, 8), dtype=torch.uint8)
    codec = Codec(model, lossless=True)
    blob = codec.compress(images)
    expected = sum(codec.expected_bits(images) for _ in range(4)) / 4
    assert 8 * len(blob) - codec.header_bits(blob) <= 1.015 * expected


def test_vectors_have_no_lossless_files():
    model = nw.Autoencoder.for_vectors(6, Variational(2))
    with pytest.raises(TypeError, match="vectors"):
        Codec(model, lossless=True)
