"""Whatever bytes come in: the images that were written, or a CodecError."""

import dataclasses
import random

import pytest
import torch

from narrows.codec import Codec, CodecError, Limit
from narrows.codec.container import Header, pack, unpack
from narrows.priors import GaussianMixture, PixelCNN
from narrows.training import latents


def mutants(blob, n, seed):
    """Truncated, bit-flipped, spliced and random variants of a file."""
    rng = random.Random(seed)
    for i in range(n):
        kind = i % 5
        data = bytearray(blob)
        if kind == 0:
            yield bytes(data[: rng.randrange(len(data))])
        elif kind == 1:
            for _ in range(rng.choice([1, 1, 2, 8])):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            yield bytes(data)
        elif kind == 2:
            yield rng.randbytes(rng.randrange(200))
        elif kind == 3:
            at = rng.randrange(len(data))
            yield bytes(data[:at]) + rng.randbytes(rng.randrange(1, 9)) + bytes(data[at:])
        else:
            yield bytes(data[:4]) + rng.randbytes(rng.randrange(100))


def survives(codec, blob, n):
    refused = 0
    for data in mutants(blob, n, seed=0):
        if data == blob:  # two flips of one bit
            continue
        with pytest.raises(CodecError):
            codec.decompress(data)
        refused += 1
    assert refused > 0.99 * n


@pytest.mark.parametrize("family", ["vq", "sparse", "plain", "variational"])
def test_ten_thousand_damaged_files_are_refused(models, digits, family):
    codec = Codec(*models[family])
    survives(codec, codec.compress(digits.train.images[:3]), 10_000 if family == "vq" else 500)


def payloads(payload, n, seed):
    """Payloads truncated, bit-flipped, lengthened and random, all of whole words."""
    rng = random.Random(seed)
    for i in range(n):
        data, kind = bytearray(payload), i % 4
        if kind == 0:
            data = data[: 4 * rng.randrange(len(data) // 4)]
        elif kind == 1:
            for _ in range(rng.choice([1, 1, 2, 8])):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif kind == 2:
            data += rng.randbytes(4 * rng.randrange(1, 9))
        else:
            data = bytearray(rng.randbytes(4 * rng.randrange(1, 60)))
        yield bytes(data)


def resist(codec, blob, n):
    """Damage behind a correct checksum, which an enemy can compute: refused, or no damage."""
    header, payload = unpack(blob)
    images, refused = codec.decompress(blob), 0
    for data in payloads(payload, n, seed=1):
        try:
            found = codec.decompress(pack(header, data))
        except CodecError:
            refused += 1
        else:
            assert torch.equal(found, images)  # bits that the coder never looks at
    assert refused > 0.5 * n


@pytest.mark.slow
@pytest.mark.parametrize("family", ["vq", "sparse", "plain", "variational"])
@pytest.mark.parametrize("lossless", [False, True])
def test_ten_thousand_damages_behind_a_correct_checksum(models, digits, family, lossless):
    codec = Codec(*models[family], lossless=lossless)
    resist(codec, codec.compress(digits.train.images[:2]), 10_000 // 8)


@pytest.mark.slow
def test_ten_thousand_damages_of_bits_back_files(variational, digits):
    codec = Codec(variational, lossless=True)
    blob = codec.compress(digits.train.images[:2])
    survives(codec, blob, 10_000)
    resist(codec, blob, 1000)


def test_mixture_payloads_behind_a_correct_checksum_are_refused(models, digits):
    model, histogram = models["plain"]
    prior = GaussianMixture(histogram.sites, 4, components=3)
    codec = Codec(model, prior.fit(latents(model, digits.train)))
    resist(codec, codec.compress(digits.train.images[:2]), 100)


def forged(codec, blob, seed, **changes):
    """A file with a correct checksum around a payload of an enemy's choice."""
    header, payload = unpack(blob)
    rng = random.Random(seed)
    payload = rng.randbytes(4 * rng.randrange(0, 40)) if seed % 2 else payload[: 4 * (seed % 7)]
    return pack(Header(**{**header.__dict__, **changes}), payload)


def refuses_forgeries(codec, blob):
    refused = 0
    for seed in range(20):
        try:
            found = codec.decompress(forged(codec, blob, seed))
        except CodecError:
            refused += 1
        else:  # a payload that lost nothing but zeros at its end, or nothing
            assert torch.equal(found, codec.decompress(blob))
    assert refused >= 10  # all that are random


@pytest.mark.parametrize("family", ["vq", "sparse", "plain", "variational"])
def test_payloads_with_a_correct_checksum_but_other_bits_are_refused(models, digits, family):
    for lossless in (False, True):
        codec = Codec(*models[family], lossless=lossless)
        blob = codec.compress(digits.train.images[:2])
        refuses_forgeries(codec, blob)


def test_forged_bits_back_payloads_are_refused(variational, digits):
    codec = Codec(variational, lossless=True)
    blob = codec.compress(digits.train.images[:2])
    refuses_forgeries(codec, blob)


def test_files_that_claim_to_be_huge_are_refused_before_anything_is_allocated(models, digits):
    codec = Codec(*models["vq"])
    blob = codec.compress(digits.train.images[:2])
    for changes in (
        {"count": 2**32 - 1},
        {"shape": (1, 2**32 - 1, 2**32 - 1)},
        {"count": 0, "shape": (1, 2**32 - 1, 2**32 - 1)},
        {"shape": (1, 0, 8)},
        {"shape": (8, 8, 8)},
        {"shape": (8,)},
    ):
        with pytest.raises(CodecError):
            codec.decompress(forged(codec, blob, 1, **changes))
    with pytest.raises(CodecError, match=r"limit=Limit\(values=128\), or --limit.values 128"):
        codec.decompress(blob, Limit(values=127))
    with pytest.raises(CodecError, match=r"limit=Limit\(images=2\), or --limit.images 2"):
        codec.decompress(blob, Limit(images=1))
    assert len(codec.decompress(blob, Limit(images=2, values=128))) == 2


@pytest.fixture(scope="module")
def walked(models, digits):
    """A codec whose reader walks a PixelCNN, symbol after symbol."""
    model, histogram = models["vq"]
    torch.manual_seed(0)
    prior = PixelCNN(histogram.sites, 32, hidden=8, layers=2, kernel=3).eval()
    return Codec(model, prior)


@pytest.mark.parametrize("family", ["PixelCNN", "vq", "sparse", "plain", "variational"])
def test_a_short_file_cannot_make_the_reader_walk_on(walked, models, digits, family, monkeypatch):
    """A checksum is no secret: what bounds the work is the length of the payload."""
    codec = walked if family == "PixelCNN" else Codec(*models[family])
    header, payload = unpack(codec.compress(digits.train.images[:3]))
    calls = []
    whole = codec.prior.conditionals
    monkeypatch.setattr(codec.prior, "conditionals", lambda n, *a: calls.append(n) or whole(n, *a))
    for enough in (b"", payload, payload + random.Random(0).randbytes(400)):
        calls.clear()
        forgery = pack(dataclasses.replace(header, count=60_000), enough)
        with pytest.raises(CodecError, match=r"ends before its codes|no code under"):
            codec.decompress(forgery)
        # 400 bytes hold 3200 bits, and a code of these small models costs several.
        assert sum(calls) <= 4 * 256, "of 60,000: codes read before the end was noticed"


def test_a_short_bits_back_file_cannot_make_the_reader_walk_on(variational, digits, monkeypatch):
    codec = Codec(variational, lossless=True)
    header, payload = unpack(codec.compress(digits.train.images[:3]))
    read = []
    whole, likelihood = variational.likelihood.level_conditionals, variational.likelihood
    monkeypatch.setattr(likelihood, "level_conditionals", lambda o: read.append(1) or whole(o))
    with pytest.raises(CodecError):
        codec.decompress(pack(dataclasses.replace(header, count=60_000), payload))
    assert len(read) <= 8, "groups of 16 read before the end was noticed"


def test_limits_are_numbers_from_one():
    with pytest.raises(ValueError, match="at least 1"):
        Limit(images=0)
