"""Lossless files are read under other kernels, memory formats, threads and batches."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import narrows as nw
from narrows.bottlenecks import (
    Categorical,
    Rounded,
    SparseDictionary,
    SpikeAndSlab,
    TopK,
    Variational,
    VectorQuantizer,
)
from narrows.codec import Codec, CodecError, container
from narrows.codec.entropy import Reader, Writer
from narrows.codec.rounding import Networks, Rounding
from narrows.functional.conditionals import Conditional
from narrows.likelihoods import Categorical256, DiscretizedLogisticMixture, Normal

READER = """
import sys
from pathlib import Path
import torch
import narrows as nw

torch.set_num_threads(int(sys.argv[2]))
for path in sorted(Path(sys.argv[1]).glob("*.nrwz")):
    codec = nw.Codec(nw.Autoencoder.load(path.with_suffix("")), lossless=True)
    images = torch.load(path.with_suffix(".pt"), weights_only=True)
    assert torch.equal(codec.decompress(path.read_bytes()), images), path
    print(path.stem)
"""


LIKELIHOODS = {
    "mixture": lambda: DiscretizedLogisticMixture(3),
    "normal": Normal,
    "learned": lambda: Normal("learned"),
    "given": lambda: Normal(0.1),
    "categorical": Categorical256,
}
BOTTLENECKS = {
    "vae": lambda: Variational(4),
    "spike": lambda: SpikeAndSlab(4),
    "vq": lambda: VectorQuantizer(16, 8),
    "discrete": lambda: Categorical(8, 2),
    "rounded": lambda: Rounded(4),
    "sparse": lambda: SparseDictionary(16, 4, coder=TopK(2)),
}
NETWORKS = {
    "conv": lambda: nw.networks.Conv(8, downsamplings=2),
    "resnet": lambda: nw.networks.ResNet(8),
    "mlp": lambda: nw.networks.Mlp((16,)),
    "transformer": lambda: nw.networks.Transformer(dim=16, depth=1),
}
PLAIN = ("mixture", "vae", "conv")


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    """Writes models as training in the channels-last format leaves them, beside their files."""
    digits = nw.data.load("digits", train_examples=128)

    def write(cases, counts):
        folder = tmp_path_factory.mktemp("lossless")
        for likelihood, bottleneck, network in cases:
            torch.manual_seed(0)
            model = nw.Autoencoder(
                digits.shape, BOTTLENECKS[bottleneck](),
                network=NETWORKS[network](), likelihood=LIKELIHOODS[likelihood](),
            )  # fmt: skip
            engine = nw.training.Engine(channels_last=True)
            nw.fit(model, digits, epochs=1, engine=engine, show=False)
            codec = Codec(model, lossless=True)
            for count in counts:
                images = digits.test.images[:count].contiguous(memory_format=torch.channels_last)
                path = folder / f"{likelihood}-{bottleneck}-{network}-{count}.nrwz"
                path.write_bytes(codec.compress(images))
                torch.save(images, path.with_suffix(".pt"))
                model.save(path.with_suffix(""))
        return folder

    return write


@pytest.fixture(scope="module")
def few(write):
    """A model of each likelihood."""
    return write([(name, *PLAIN[1:]) for name in LIKELIHOODS], [2])


@pytest.fixture(scope="module")
def many(write):
    """Every likelihood, latent and network, in batches of 1, 7 and 256."""
    cases = [(name, *PLAIN[1:]) for name in LIKELIHOODS]
    cases += [(PLAIN[0], name, PLAIN[2]) for name in BOTTLENECKS]
    cases += [("normal", "vae", name) for name in NETWORKS]
    return write(dict.fromkeys(cases), [1, 7, 256])


def read_elsewhere(folder, threads, settings):
    """How many files another process reads under other settings."""
    command = [sys.executable, "-c", READER, str(folder), str(threads)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **settings}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return len(done.stdout.split())


NO_VECTORS = {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}


def test_lossless_files_are_read_by_another_process_with_other_kernels(few):
    assert read_elsewhere(few, 1, NO_VECTORS) == len(LIKELIHOODS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("threads", "settings"),
    [
        (2, {}),
        (1, NO_VECTORS),
        (1, {"ONEDNN_MAX_CPU_ISA": "SSE41"}),
        (2, {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2"}),
    ],
    ids=["two threads", "no vectors", "sse", "avx2"],
)
def test_lossless_files_of_every_kind_are_read_under_every_setting(many, threads, settings):
    assert read_elsewhere(many, threads, settings) == 3 * 13


def test_notes_decide_where_machines_differ():
    """A reader off by less than the margin rounds as the writer, close calls included."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=1000) * 100, np.arange(-50, 50) + 0.5])
    writer = Rounding()
    written = writer(x, 1e-3)
    for noise in (-9e-4, 9e-4):
        reader = Rounding(writer.notes())
        assert np.array_equal(reader(x + noise, 1e-3), written)
    assert not np.array_equal(np.rint(x + 9e-4), np.rint(x - 9e-4))
    assert len(writer.notes()) < 2 * 150  # a byte or two for each that is close


@pytest.mark.parametrize("notes", [b"\x80", b"\xff" * 20, b"\x05\x83"])
def test_damaged_notes_are_refused(notes):
    with pytest.raises(CodecError, match="notes on rounding"):
        Rounding(notes)


def test_probabilities_with_rounding_errors_are_read_alike():
    """Tables at half a part exactly, which the reader has a last digit off."""
    rng = np.random.default_rng(1)
    parts = (1 << 24) - 100
    edges = np.sort(rng.integers(1, parts, (400, 99)), 1) + 0.5
    masses = torch.from_numpy(np.diff(edges, prepend=0, append=parts) / parts)
    symbols = torch.from_numpy(rng.integers(0, 100, 400))
    writer = Writer()
    writer.put(Conditional(masses, 400, symbols))
    payload, notes = writer.finish(), writer.rounding.notes()
    for noise in (1 - 1e-15, 1 + 1e-15):
        other = masses * torch.from_numpy(np.where(rng.random(masses.shape) < 0.5, noise, 1.0))
        reader = Reader(payload, Rounding(notes))
        assert torch.equal(reader.take(Conditional(other, 400)), symbols)


class InSingle(torch.nn.Module):
    """A decoder that insists on float32."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, z):
        return self.inner(z).float()


def test_a_decoder_that_leaves_float64_is_refused_with_the_way_out(train_briefly):
    model = train_briefly(Variational(2), DiscretizedLogisticMixture(2), steps=1)
    model.decoder = InSingle(model.decoder)
    with pytest.raises(TypeError, match=r"evaluates networks in float64, and InSingle gave"):
        Codec(model, lossless=True)


def test_a_file_that_cannot_be_read_back_is_not_returned(train_briefly, digits, monkeypatch):
    codec = Codec(train_briefly(VectorQuantizer(8, 4), DiscretizedLogisticMixture(2), steps=1),
                  lossless=True)  # fmt: skip
    runs = []

    def unsteady(networks, code, rounding):
        runs.append(1)
        shape = (len(code), 6, 8, 8)
        return torch.full(shape, float(len(runs)), dtype=torch.float64)

    monkeypatch.setattr(Networks, "output", unsteady)
    with pytest.raises(CodecError):
        codec.compress(digits.test.images[:40])


def test_files_of_another_format_are_refused_with_the_way_out(models, digits):
    codec = Codec(*models["vq"])
    blob = bytearray(codec.compress(digits.test.images[:1]))
    blob[4] = 3
    with pytest.raises(CodecError, match="with the version of narrows that wrote it"):
        codec.decompress(bytes(blob))


def test_files_of_format_4_are_read_but_for_bits_back(models, variational, digits):
    x = digits.test.images[:2]
    for codec in (Codec(*models["vq"]), Codec(variational, lossless=True)):
        blob = codec.compress(x)
        earlier = bytearray(blob[:-8])
        earlier[4] = 4
        earlier += hashlib.blake2b(earlier, digest_size=8).digest()
        if codec.mode == container.BITS_BACK:
            with pytest.raises(CodecError, match="format 4 of bits-back files, whose grid was"):
                codec.decompress(bytes(earlier))
        else:
            assert torch.equal(codec.decompress(bytes(earlier)), codec.decompress(blob))


def test_no_images_make_a_file_in_every_mode(models, digits, train_briefly):
    vae = train_briefly(Variational(2), DiscretizedLogisticMixture(2), steps=1)
    for model, prior in (*models.values(), (vae, None)):
        for lossless in (False, True):
            if prior is None and not lossless:
                continue
            codec = Codec(model, prior, lossless=lossless)
            for none in (digits.test.images[:0], torch.zeros(0, 1, 30, 20)):
                back = codec.decompress(codec.compress(none))
                assert back.shape == none.shape
                assert back.dtype == none.dtype
    vectors = nw.Autoencoder.for_vectors(6, VectorQuantizer(8, 4))
    assert Codec(vectors).decompress(Codec(vectors).compress(torch.zeros(0, 6))).shape == (0, 6)


@pytest.mark.parametrize("shape", [(9,), (5, 6), (4, 8, 8), (2, 3, 4, 5)])
def test_data_in_their_own_units_come_back_as_the_model_decodes_them(shape):
    torch.manual_seed(0)
    examples = 7 * torch.randn(12, *shape) + 100
    network = nw.networks.Mlp((16,))
    model = nw.Autoencoder(shape, VectorQuantizer(8, 4), network=network).eval()
    codec = Codec(model)
    assert torch.equal(codec.decompress(codec.compress(examples)), model.reconstruct(examples))
    with pytest.raises(ValueError, match="expected"):
        codec.compress(torch.zeros(2, *shape[:-1], shape[-1] + 1))
