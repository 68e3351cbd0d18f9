"""A file is as large as its rate, and gives back exactly the codes that went in."""

import copy
import json
import math
import subprocess
import sys

import pytest
import torch

import narrows as nw
from narrows.bottlenecks import SpikeAndSlab
from narrows.codec import Codec, CodecError
from narrows.codec.container import overhead
from narrows.codec.entropy import Reader, Writer
from narrows.functional.conditionals import follow
from narrows.likelihoods import Bernoulli
from narrows.networks import Conv
from narrows.priors import (
    AutoregressiveTransformer,
    GaussianMixture,
    PixelCNN,
    QuantizedHistogram,
    SparseAutoregressive,
    SparseFactorial,
    SparseMixture,
)
from narrows.training import latents
from narrows.training.priors.fitting import mean_bits

FAMILIES = ["vq", "sparse", "plain", "variational"]


def images(digits, n=1000):
    return digits.train.images[:n]


def same(a, b):
    """Whether two codes are equal but for padding."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    width = min(a[1].shape[-1], b[1].shape[-1])
    rest = sum(float(part[1][..., width:].abs().sum()) for part in (a, b))
    pairs = zip(a, b, strict=True)
    return rest == 0 and all(torch.equal(x[..., :width], y[..., :width]) for x, y in pairs)


def estimate(prior, model, split):
    return mean_bits(prior, latents(model, split)) * len(split)


@pytest.mark.parametrize("family", FAMILIES)
def test_real_bytes_are_within_one_percent_of_the_rate_plus_a_stated_header(models, digits, family):
    model, prior = models[family]
    blob = Codec(model, prior).compress(images(digits))
    expected = estimate(prior, model, digits.train.head(1000))
    real = 8 * (len(blob) - overhead(3))
    assert abs(real - expected) <= 0.01 * expected + 64  # the range coder ends on whole words


@pytest.mark.parametrize("family", FAMILIES)
def test_decoded_codes_are_the_encoded_ones_and_so_are_the_images(models, digits, family):
    model, prior = models[family]
    codec = Codec(model, prior)
    x = images(digits, 300)
    blob = codec.compress(x)
    with torch.no_grad():
        code = prior.quantize(model.latent(x.float() / 255).code)
    assert same(codec.codes(blob), code)
    decoded = codec.decompress(blob)
    assert decoded.dtype == torch.uint8
    expected = (model.decode(code).clamp(0, 1) * 255).round()
    # Networks may round differently in other batches; codes may not.
    assert (decoded.float() - expected).abs().max() <= 1


def learned(model, digits):
    """One of each learned prior over integer codes, at random weights: rates need not be good."""
    torch.manual_seed(0)
    sites, size = model.prior.sites, model.prior.size
    yield PixelCNN(sites, size, hidden=16, layers=2)
    yield AutoregressiveTransformer(sites, size, hidden=16, depth=2, heads=2)


def test_learned_priors_over_indices_code_exactly_and_at_their_rate(models, digits):
    model, _ = models["vq"]
    for prior in learned(model, digits):
        codec = Codec(model, prior)
        blob = codec.compress(images(digits))
        expected = estimate(prior, model, digits.train.head(1000))
        assert abs(8 * (len(blob) - overhead(3)) - expected) <= 0.01 * expected + 64
        assert same(codec.codes(blob), model.encode(images(digits).float() / 255))


def test_a_class_conditional_prior_codes_at_the_rate_of_the_classes_mixture(models, digits):
    model, _ = models["vq"]
    torch.manual_seed(0)
    prior = PixelCNN(model.prior.sites, model.prior.size, hidden=8, layers=2, classes=3)
    for weight in prior.parameters():
        weight.data.add_(0.3 * torch.randn_like(weight))  # classes that differ
    codec = Codec(model, prior)
    blob = codec.compress(images(digits))
    expected = estimate(prior, model, digits.train.head(1000))
    assert abs(8 * (len(blob) - overhead(3)) - expected) <= 0.01 * expected + 64
    assert same(codec.codes(blob), model.encode(images(digits).float() / 255))


def test_learned_priors_over_sparse_codes_code_exactly_and_at_their_rate(models, digits):
    model, floor = models["sparse"]
    torch.manual_seed(0)
    mixture = SparseMixture(floor.sites, 24, step=0.5, components=4)
    mixture.fit(latents(model, digits.train))
    tokens = SparseAutoregressive(floor.sites, 24, k=2, step=0.5, hidden=16, depth=1)
    for prior in (mixture, tokens):
        codec = Codec(model, prior)
        blob = codec.compress(images(digits))
        expected = estimate(prior, model, digits.train.head(1000))
        assert abs(8 * (len(blob) - overhead(3)) - expected) <= 0.01 * expected + 64
        with torch.no_grad():
            code = prior.quantize(model.latent(images(digits).float() / 255).code)
        assert same(codec.codes(blob), code)


@pytest.mark.parametrize("prior", [0, 1])
def test_codes_decode_alike_on_any_number_of_threads(models, digits, prior):
    model, _ = models["vq"]
    codec = Codec(model, [*learned(model, digits)][prior])
    before, found = torch.get_num_threads(), []
    for writing, reading in ((1, 1), (1, 2), (2, 1)):
        torch.set_num_threads(writing)
        blob = codec.compress(images(digits, 100))
        torch.set_num_threads(reading)
        found.append(codec.codes(blob))
    torch.set_num_threads(before)
    assert all(torch.equal(code, found[0]) for code in found)


@pytest.mark.slow
def test_a_file_is_read_in_another_process(models, digits, tmp_path):
    """Another run, other threads, other batches: the same codes, from the saved model."""
    model, _ = models["vq"]
    model = copy.deepcopy(model)
    model.prior = next(learned(model, digits))
    model.save(tmp_path / "model")
    x = images(digits, 30)
    (tmp_path / "file").write_bytes(Codec(model).compress(x))
    program = (
        "import sys, torch, narrows as nw; torch.set_num_threads(2);"
        "codec = nw.Codec(nw.Autoencoder.load(sys.argv[1]));"
        "print(codec.codes(open(sys.argv[2], 'rb').read()).flatten().tolist())"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "model"), str(tmp_path / "file")]
    text = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert json.loads(text) == model.encode(x.float() / 255).flatten().tolist()


def test_codes_do_not_depend_on_what_else_is_in_the_file(models, digits):
    model, _ = models["vq"]
    for prior in learned(model, digits):
        codec = Codec(model, prior)
        whole = codec.codes(codec.compress(images(digits, 20)))
        parts = [codec.codes(codec.compress(images(digits, 20)[i : i + 1])) for i in range(20)]
        assert torch.equal(whole, torch.cat(parts))


def test_values_beyond_the_histogram_are_written_too(models, digits):
    _, prior = models["plain"]
    far = torch.tensor([[0.0, 1e3, -1e3, 12.3]]).expand(*prior.sites, 4)[None]
    code = prior.quantize(far)
    writer = Writer()
    follow(prior.conditionals(1, code), writer.put)
    again = follow(prior.conditionals(1), Reader(writer.finish()).take)
    assert torch.equal(again, code)


def test_a_mixture_codes_plain_codes_exactly_and_at_its_rate(models, digits):
    model, histogram = models["plain"]
    for step in (None, 0.02):
        mixture = GaussianMixture(histogram.sites, 4, components=5, step=step)
        prior = mixture.fit(latents(model, digits.train))
        codec = Codec(model, prior)
        blob = codec.compress(images(digits))
        expected = estimate(prior, model, digits.train.head(1000))
        assert abs(8 * (len(blob) - overhead(3)) - expected) <= 0.01 * expected + 64
        with torch.no_grad():
            code = prior.quantize(model.latent(images(digits).float() / 255).code)
        assert torch.equal(codec.codes(blob), code)


def test_a_mixture_without_a_grid_is_refused_with_the_reason(models, digits):
    model, histogram = models["plain"]
    x = images(digits, 2)
    mixture = GaussianMixture(histogram.sites, 4, components=2)
    with pytest.raises(TypeError, match="not fitted"):
        Codec(model, mixture).compress(x)
    random, _ = models["variational"]
    with pytest.raises(TypeError, match="random codes"):
        Codec(random, mixture.fit(latents(random, digits.train))).compress(x)


def test_spike_and_slab_codes_keep_their_zeros_and_cost_their_histogram(train_briefly, digits):
    model = train_briefly(SpikeAndSlab(6))
    with pytest.raises(TypeError, match="exact_zeros"):
        Codec(model)
    histogram = QuantizedHistogram(model.prior.sites, 6, exact_zeros=True)
    prior = histogram.fit(latents(model, digits.train))
    codec = Codec(model, prior)
    blob = codec.compress(images(digits))
    expected = estimate(prior, model, digits.train.head(1000))
    assert abs(8 * (len(blob) - overhead(3)) - expected) <= 0.01 * expected + 64
    with torch.no_grad():
        code = model.latent(images(digits).float() / 255).code
    found = codec.codes(blob)
    assert torch.equal(found, prior.quantize(code))
    assert 0.1 < (code == 0).float().mean() < 1
    assert bool((found[code == 0] == 0).all())


def test_split_codes_with_a_sparse_part_are_coded_at_their_rate(train_briefly, digits):
    from narrows import bottlenecks as b

    parts = [b.VectorQuantizer(8, 4), b.SparseDictionary(12, 4, coder=b.TopK(2)), b.Identity(2)]
    model = train_briefly(b.Split(parts), steps=10)
    # Ten values in all the training images: some groups of 256 have fewer active atoms.
    model.prior.parts[1] = SparseFactorial(model.prior.sites, 12, step=4.0)
    prior = model.prior.fit(latents(model, digits.train))
    codec = Codec(model, prior)
    blob = codec.compress(images(digits))
    expected = estimate(prior, model, digits.train.head(1000))
    assert abs(8 * (len(blob) - overhead(3)) - expected) <= 0.01 * expected + 64
    found, stored = codec.codes(blob), model.encode(images(digits).float() / 255)
    assert all(map(same, found, stored))
    assert codec.decompress(blob).shape == (1000, *digits.shape)


def test_float_images_come_back_as_floats_and_no_images_as_none(models, digits):
    model, prior = models["vq"]
    codec = Codec(model, prior)
    x = images(digits, 5).float() / 255
    decoded = codec.decompress(codec.compress(x))
    assert decoded.dtype == torch.float32
    assert torch.allclose(decoded, model.reconstruct(x), atol=1e-5)
    assert codec.decompress(codec.compress(x[:0])).shape == (0, *digits.shape)


@pytest.mark.parametrize("size", [(8, 8), (9, 20), (3, 5), (16, 7)])
def test_images_of_any_size_are_cut_into_tiles(models, size):
    model, prior = models["vq"]
    codec = Codec(model, prior)
    x = torch.randint(256, (3, 1, *size), generator=torch.Generator().manual_seed(0)).byte()
    assert codec.decompress(codec.compress(x)).shape == x.shape


def test_tiles_are_put_back_where_they_were_cut():
    from narrows.codec.tiles import cut, join

    x = torch.arange(2 * 3 * 10 * 13).view(2, 3, 10, 13)
    assert torch.equal(join(cut(x, (3, 4, 5)), (3, 10, 13)), x)


def test_a_lossless_file_gives_back_every_pixel(models, digits):
    for family in FAMILIES:
        model, prior = models[family]
        codec = Codec(model, prior, lossless=True)
        x = images(digits, 40)
        assert torch.equal(codec.decompress(codec.compress(x)), x)


@pytest.mark.parametrize("size", [(1, 1), (7, 8), (9, 17), (20, 9)])
def test_lossless_files_of_odd_sizes_give_back_every_pixel(models, variational, digits, size):
    x = torch.randint(256, (2, 1, *size), generator=torch.Generator().manual_seed(0)).byte()
    x[0] = digits.train.images[0, 0, 3, 3]  # one flat image, one of noise
    for model, prior in (models["vq"], models["sparse"], (variational, None)):
        codec = Codec(model, prior, lossless=True)
        assert torch.equal(codec.decompress(codec.compress(x)), x)


@pytest.mark.parametrize("kind", ["residual", "bits-back"])
def test_lossless_files_are_the_same_on_any_number_of_threads(models, variational, digits, kind):
    model, prior = models["vq"] if kind == "residual" else (variational, None)
    codec = Codec(model, prior, lossless=True)
    before, x = torch.get_num_threads(), images(digits, 40)
    torch.set_num_threads(1)
    blob = codec.compress(x)
    torch.set_num_threads(2)
    again, back = codec.compress(x), codec.decompress(blob)
    torch.set_num_threads(before)
    assert again == blob
    assert torch.equal(back, x)


def test_lossless_colour_images_come_back_exactly():
    from narrows.likelihoods import Categorical256, DiscretizedLogisticMixture

    for likelihood in (DiscretizedLogisticMixture(2), Categorical256()):
        torch.manual_seed(0)
        bottleneck = nw.bottlenecks.VectorQuantizer(8, 4)
        model = nw.Autoencoder.for_images((3, 8, 8), bottleneck, likelihood=likelihood).eval()
        x = torch.randint(256, (20, 3, 8, 8)).byte()
        codec = Codec(model, lossless=True)
        blob = codec.compress(x)
        assert torch.equal(codec.decompress(blob), x)
        unit = x.float() / 255
        with torch.no_grad():
            latent = model.latent(unit)
            nats = model.prior.rate(latent) - likelihood.log_prob(unit, model.decoder(latent.z))
        expected = nats.sum().item() / math.log(2)
        assert abs(8 * len(blob) - expected) < 0.01 * expected + 8 * overhead(3) + 64


def test_a_file_of_another_model_prior_or_mode_is_refused(models, digits):
    model, prior = models["vq"]
    blob = Codec(model, prior).compress(images(digits, 3))
    with pytest.raises(CodecError, match="another model or prior"):
        Codec(*models["plain"]).decompress(blob)
    with pytest.raises(CodecError, match=r"this model and another prior .* its prior PixelCNN"):
        Codec(model, PixelCNN(prior.sites, prior.size, hidden=8, layers=1)).decompress(blob)
    with pytest.raises(CodecError, match="another mode"):
        Codec(model, prior, lossless=True).decompress(blob)


def test_what_cannot_be_coded_is_refused_with_the_reason(models, digits, variational):
    model, prior = models["vq"]
    codec = Codec(model, prior)
    with pytest.raises(TypeError, match="QuantizedHistogram"):
        Codec(variational)
    for bad, message in (
        (torch.zeros(2, 3, 8, 8), "with 1 channels"),
        (torch.zeros(2, 64), "expected"),
        (torch.full((1, 1, 8, 8), 2.0), r"\[0, 1\]"),
        (torch.full((1, 1, 8, 8), math.nan), "NaN"),
        (torch.zeros(1, 1, 8, 8, dtype=torch.long), "uint8"),
    ):
        with pytest.raises(ValueError, match=message):
            codec.compress(bad)
    with pytest.raises(ValueError, match="8-bit"):
        Codec(model, prior, lossless=True).compress(torch.rand(1, 1, 8, 8))
    torch.manual_seed(0)
    binary = nw.Autoencoder.for_images(
        digits.shape, nw.bottlenecks.VectorQuantizer(8, 4), likelihood=Bernoulli()
    )
    with pytest.raises(TypeError, match="256 levels"):
        Codec(binary, lossless=True).compress(images(digits, 2))


def test_every_other_discrete_bottleneck_and_a_split_one_are_coded(digits):
    from narrows import bottlenecks as b

    mixed = b.Split([b.VectorQuantizer(8, 4), b.Identity(2)])
    for bottleneck in (
        b.ResidualQuantizer(b.VectorQuantizer(16, 4), stages=3),
        b.FiniteScalarQuantizer([5, 4, 3]),
        b.LookupFreeQuantizer(5),
        b.SimVQ(16, 4),
        b.Categorical(8, 2),
        mixed,
    ):
        torch.manual_seed(0)
        model = nw.Autoencoder.for_images(digits.shape, bottleneck, network=Conv(8)).eval()
        if bottleneck is mixed:
            model.prior.parts[1] = QuantizedHistogram(model.prior.sites, 2)
        prior = model.prior.fit(latents(model, digits.train))
        codec = Codec(model, prior)
        x = images(digits, 300)
        found = codec.codes(codec.compress(x))
        expected = model.encode(x.float() / 255)
        found, expected = (
            (code,) if isinstance(code, torch.Tensor) else code for code in (found, expected)
        )
        assert all(map(torch.equal, found, expected)), type(bottleneck).__name__


def test_vectors_are_coded_too():
    torch.manual_seed(0)
    model = nw.Autoencoder.for_vectors(6, nw.bottlenecks.VectorQuantizer(8, 4)).eval()
    x = torch.randn(50, 6) * 3
    codec = Codec(model)
    assert torch.allclose(codec.decompress(codec.compress(x)), model.reconstruct(x), atol=1e-5)


@pytest.mark.parametrize("kind", ["categorical", "split"])
def test_what_is_reported_of_a_random_index_is_what_is_written(train_briefly, digits, kind):
    """The stored code of Categorical is its likeliest value, not a draw that costs KL(q || p)."""
    from narrows import bottlenecks as b
    from narrows.training import evaluate

    categorical = b.Categorical(8, 3)
    parts = b.Split([categorical, b.VectorQuantizer(16, 4)])
    model = train_briefly(categorical if kind == "categorical" else parts, steps=10)
    model.prior.fit(latents(model, digits.train))
    reported = evaluate(model, digits.test, variance=1.0)
    x = digits.test.images
    codec = Codec(model)
    blob = codec.compress(x)
    assert (8 * (len(blob) - overhead(3)) - 32) / len(x) == pytest.approx(
        reported["bits_per_example"], rel=0.01
    )
    unit = x.float() / 255
    with torch.no_grad():
        error = (model.decode(codec.codes(blob)) - unit).square().mean()
    assert reported["mse"] == pytest.approx(float(error), rel=1e-4)
    assert "mse_mean" not in reported


def test_supports_of_many_atoms_lose_less_than_a_bit_to_the_coder():
    """A call of the range coder costs 1.4e-4 bits: 2 bits in all if each atom were coded alone."""
    from narrows.functional.conditionals import Conditional

    rng, n = torch.Generator().manual_seed(0), 64 * 16_384
    for weights in (torch.tensor([0.9, 0.1]).double(), torch.rand(n, 2, generator=rng).double()):
        share = weights[..., 1] / weights.sum(-1)
        known = (torch.rand(n, generator=rng) < share).long()
        ideal = -torch.where(known > 0, share.log2(), (1 - share).log2()).sum()
        writer = Writer()
        writer.put(Conditional(weights, n, known))
        payload = writer.finish()
        assert 8 * len(payload) - float(ideal) < 64 * 0.6 + 32  # it ends on a whole word
        reader = Reader(payload)
        assert torch.equal(reader.take(Conditional(weights, n)), known)
