"""Whatever bytes come in: the images that were written, or a CodecError."""

import random

import pytest
import torch

from narrows.codec import Codec, CodecError
from narrows.codec.container import Header, pack, unpack
from narrows.codec.entropy import Reader, Writer, whole_numbers
from narrows.priors import GaussianMixture, fit_in_one_pass


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
    codec = Codec(model, fit_in_one_pass(prior, model, digits))
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
        {"shape": (1, 0, 8)},
        {"shape": (8, 8, 8)},
        {"shape": (8,)},
    ):
        with pytest.raises(CodecError):
            codec.decompress(forged(codec, blob, 1, **changes))
    with pytest.raises(CodecError, match="most_values"):
        codec.decompress(blob, most_values=64)


def test_whole_numbers_of_any_size_round_trip():
    values = torch.tensor([1, 2, 3, 7, 8, 1000, 2**40 + 12345]).numpy()
    writer = Writer()
    whole_numbers(writer, values, len(values))
    assert (whole_numbers(Reader(writer.finish()), None, len(values)) == values).all()
