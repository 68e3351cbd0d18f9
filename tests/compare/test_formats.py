"""Files of JPEG, WebP and PNG, counted."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

import narrows as nw
from narrows.compare.formats import QUALITIES, compressed_bytes, formats
from narrows.compare.pages.formats import at, section


def photographs(n, size=32, channels=3):
    rng = np.random.default_rng(0)
    coarse = rng.uniform(size=(n, 4, 4, channels))
    smooth = np.kron(coarse, np.ones((1, size // 4, size // 4, 1)))
    noisy = np.clip(smooth + rng.normal(0, 0.02, smooth.shape), 0, 1)
    return (255 * noisy).round().astype(np.uint8).transpose(0, 3, 1, 2)


@pytest.fixture(scope="module")
def found():
    return formats(nw.data.from_array(photographs(100)), examples=5)


def test_more_quality_costs_more_bits_and_errs_less(found):
    for name in QUALITIES:
        points = [point for point in found if point.name == name]
        assert [point.quality for point in points] == list(QUALITIES[name])
        assert all(a.bits < b.bits for a, b in itertools.pairwise(points))
        assert points[-1].mse < points[0].mse / 3  # WebP halves the resolution of colour


def test_png_keeps_every_pixel(found):
    assert [point.mse for point in found if point.name == "PNG"] == [0.0]


def test_headers_are_what_whole_files_have_more(found):
    assert all(0 < point.bits < point.whole for point in found)
    jpeg = [point for point in found if point.name == "JPEG"]
    headers = [(point.whole - point.bits) * 3 * 32 * 32 / 8 for point in jpeg]
    assert all(200 < header < 700 for header in headers)  # tables of a JPEG file, bytes


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {"quality": 50}), ("WEBP", {"quality": 50}), ("PNG", {})]
)
def test_compressed_bytes_grow_with_the_picture_and_the_rest_does_not(kind, options):
    rng = np.random.default_rng(1)
    rest = []
    for size in (64, 128):
        file = io.BytesIO()
        pixels = rng.integers(0, 256, (size, size, 3), np.uint8)
        Image.fromarray(pixels).save(file, kind, **options)
        blob = file.getvalue()
        rest.append(len(blob) - compressed_bytes(blob))
    assert abs(rest[1] - rest[0]) <= 16  # PNG may have a chunk more
    assert rest[0] < 700


def test_a_format_is_read_off_at_a_rate(found):
    rows = at(found, 0.2)
    jpeg = [point for point in found if point.name == "JPEG"]
    low, high = next((a, b) for a, b in itertools.pairwise(jpeg) if a.bits <= 0.2 <= b.bits)
    assert -10 * np.log10(low.mse) <= rows["JPEG, compressed data"] <= -10 * np.log10(high.mse)
    assert "JPEG, whole files" not in rows  # its headers alone take more
    assert at([], 0.2) == {}
    assert [len(part.blocks[0].rows) for part in section(found)] == [len(found)]
    assert section([]) == []


def test_other_files_are_refused():
    with pytest.raises(ValueError, match="expected a JPEG, WebP or PNG file"):
        compressed_bytes(b"GIF89a")


def test_grey_images_have_points():
    grey = nw.data.from_array(photographs(40, channels=1))
    assert {point.name for point in formats(grey, examples=2)} == {*QUALITIES, "PNG"}


@pytest.mark.parametrize("data", ["small", "vectors", "floats"])
def test_none_where_they_make_no_sense(data):
    rng = np.random.default_rng(2)
    arrays = {
        "small": photographs(40, size=8),
        "vectors": rng.normal(size=(50, 20)).astype(np.float32),
        "floats": rng.uniform(size=(40, 3, 16, 16)).astype(np.float32),
    }
    assert formats(nw.data.from_array(arrays[data])) == []
