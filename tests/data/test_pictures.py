import io
import os
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image, features

from narrows.data import pictures
from narrows.data.pictures import UnusableImageError, endings, picture_files, read_picture

RANDOM = np.random.default_rng(0)
COLOUR = RANDOM.integers(0, 256, (20, 30, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]


def _encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _read(content, *arguments, **options):
    return read_picture(io.BytesIO(content), *arguments, **options)


def test_colour_and_grey_are_read_exactly():
    np.testing.assert_array_equal(
        _read(_encoded(Image.fromarray(COLOUR))), COLOUR.transpose(2, 0, 1)
    )
    np.testing.assert_array_equal(_read(_encoded(Image.fromarray(GREY))), GREY[None])


def test_black_and_white_and_palettes_become_eight_bits():
    two = Image.fromarray(GREY > 127)
    np.testing.assert_array_equal(_read(_encoded(two)), 255 * (GREY > 127)[None])
    palette = Image.fromarray(COLOUR).quantize(16)
    expected = np.asarray(palette.convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(_read(_encoded(palette)), expected)


def test_the_orientation_of_the_camera_is_applied():
    image = Image.fromarray(COLOUR)
    tags = image.getexif()
    tags[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned = _read(_encoded(image, exif=tags.tobytes()))
    np.testing.assert_array_equal(turned, np.rot90(COLOUR, -1).transpose(2, 0, 1))


def test_transparent_pixels_are_laid_over_white():
    alpha = np.full((20, 30, 1), 255, np.uint8)
    alpha[:, :10] = 0
    image = _read(_encoded(Image.fromarray(np.concatenate([COLOUR, alpha], 2))))
    assert (image[:, :, :10] == 255).all()
    np.testing.assert_array_equal(image[:, :, 10:], COLOUR.transpose(2, 0, 1)[:, :, 10:])
    grey = _read(_encoded(Image.fromarray(np.stack([GREY, alpha[..., 0]], 2), "LA")))
    assert grey.shape == (1, 20, 30)
    assert (grey[:, :, :10] == 255).all()


def test_scaling_covers_the_size_and_crops_about_the_centre():
    wide = np.zeros((40, 120, 3), np.uint8)
    wide[:, 40:80, 0] = 255  # the middle third is red
    image = _read(_encoded(Image.fromarray(wide)), (10, 10))
    assert image.shape == (3, 10, 10)
    assert (image[0] > 230).all()  # the filter reaches a little over the edge
    assert (image[0, :, 1:-1] > 250).all()
    assert (image[1:] == 0).all()


def test_channels_are_converted_when_asked():
    assert _read(_encoded(Image.fromarray(COLOUR)), channels=1).shape == (1, 20, 30)
    three = _read(_encoded(Image.fromarray(GREY)), channels=3)
    np.testing.assert_array_equal(three, np.repeat(GREY[None], 3, 0))


def _refused(content, message, **kwargs):
    with pytest.raises(UnusableImageError, match=message):
        _read(content)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(UnusableImageError, match="empty file"):
        read_picture(tmp_path / "a.png")


def test_text_in_a_pictures_clothes_is_refused():
    _refused(b"<html>not found</html>", "not an image")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_a_truncated_file_is_refused_wherever_it_ends(kind):
    whole = _encoded(Image.fromarray(COLOUR), kind)
    for share in (0.1, 0.5, 0.9):
        _refused(whole[: int(share * len(whole))], "damaged|not an image")


def test_a_damaged_file_is_refused():
    whole = bytearray(_encoded(Image.fromarray(COLOUR)))
    whole[len(whole) // 2] ^= 255
    _refused(bytes(whole), "damaged")


def test_cmyk_is_refused_because_its_colours_need_a_profile():
    _refused(_encoded(Image.fromarray(COLOUR).convert("CMYK"), "JPEG"), "CMYK colours")


def test_sixteen_bits_and_floats_are_refused():
    deep = Image.fromarray(RANDOM.integers(0, 65536, (8, 8), dtype=np.uint16))
    _refused(_encoded(deep), "more than 8 bits")
    _refused(_encoded(Image.fromarray(RANDOM.random((8, 8)).astype(np.float32)), "TIFF"), "8 bits")


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_animations_are_refused(kind):
    frames = [Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)]
    animated = _encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    _refused(animated, "animated: 2 frames")


def test_a_decompression_bomb_is_refused_by_its_header(monkeypatch):
    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99))
    _refused(bomb, "too large")
    monkeypatch.setattr(pictures, "MOST_PIXELS", 599)
    _refused(_encoded(Image.fromarray(COLOUR)), "30x20 pixels")


@pytest.mark.parametrize(
    "content",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n%%EOF\n",
        b"%!PS-Adobe-3.0\nnonsense",
        b"%PDF-1.4\n",
        b"SIMPLE  =                    T" + b" " * 3000,
        b"\xd7\xcd\xc6\x9a" + bytes(40),
    ],
    ids=["endless PostScript", "invalid PostScript", "PDF", "FITS", "WMF"],
)
def test_formats_that_run_other_programs_are_not_opened_whatever_the_name(content):
    _refused(content, "not an image of a format that is read")


def test_whatever_a_decoder_raises_is_a_reason(monkeypatch):
    for error in (RuntimeError("codec"), NotImplementedError("mode"), KeyError("x"), MemoryError()):

        def load(self, error=error):
            raise error

        monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
        _refused(_encoded(Image.fromarray(COLOUR)), "damaged: ")


def test_a_picture_that_takes_too_long_is_given_up_and_the_timer_is_left_as_it_was(monkeypatch):
    monkeypatch.setattr(pictures, "LONGEST", 0.2)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: time.sleep(5))
    began = time.perf_counter()
    _refused(_encoded(Image.fromarray(COLOUR)), "more than 0.2 seconds")
    assert time.perf_counter() - began < 3
    time.sleep(0.3)  # nothing is due any more


def test_a_jpeg_of_endless_scans_is_refused_before_it_is_decoded():
    whole = _encoded(Image.fromarray(COLOUR), "JPEG", progressive=True)
    start = whole.index(b"\xff\xda")
    _refused(whole[:start] + whole[start:-2] * 300, "more than 200 scans")


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").mkdir()
    for name in ("a.png", "b.png"):
        with pytest.raises(UnusableImageError, match="not a regular file"):
            read_picture(tmp_path / name)


def _deep_png(kind, channels):
    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    rows = RANDOM.integers(0, 65536, (5, 4 * channels)).astype(">u2")
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", 4, 5, 16, kind, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", zlib.compress(body)),
            chunk(b"IEND", b""),
        ]
    )


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_are_refused_in_colour_and_with_alpha_too(kind, channels):
    _refused(_deep_png(kind, channels), "more than 8 bits")


def test_sixteen_bits_are_refused_in_other_formats():
    _refused(b"P6 2 2 65535\n" + bytes(24), "more than 8 bits")
    _refused(b"P5 2 2 65535\n" + bytes(8), "more than 8 bits")
    tiff = struct.pack("<2sHI", b"II", 42, 8 + 24) + bytes(24)
    tags = [(256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 3, 170), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, 8), (277, 3, 1, 3), (278, 3, 1, 2), (279, 4, 1, 24), (284, 3, 1, 1)]
    tiff += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    tiff += bytes(4) + bytes(170 - len(tiff) - 4) + struct.pack("<HHH", 16, 16, 16)
    _refused(tiff, "more than 8 bits")


@pytest.mark.skipif(not features.check("jpg_2000"), reason="needs a Pillow with JPEG 2000")
def test_jpeg_2000_is_read_and_its_twelve_bits_are_refused():
    whole = _encoded(Image.fromarray(COLOUR), "JPEG2000")
    np.testing.assert_array_equal(_read(whole), COLOUR.transpose(2, 0, 1))
    at = whole.index(b"ihdr") + 14
    _refused(whole[:at] + b"\x0b" + whole[at + 1 :], "more than 8 bits")


def test_the_endings_that_are_read_are_those_of_this_pillow():
    assert {".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".tiff", ".webp", ".ppm"} <= endings()
    assert not {".eps", ".ps", ".pdf", ".psd", ".txt"} & endings()


def test_pictures_that_are_not_read_are_told_from_other_files(tmp_path):
    others = (
        "labels.csv",
        "paper.pdf",
        "film.mpg",
        "table.h5",
        ".hidden.png",
        ".a.partial-x-7-0.png",
    )
    for name in ("a.HEIC", "b.svg", "c.PNG", "d.dds", "e.psd", *others):
        (tmp_path / name).write_bytes(b"")
    found = {path.name: reason for path, reason in picture_files(tmp_path)}
    assert found.keys() == {"a.HEIC", "b.svg", "c.PNG", "d.dds", "e.psd"}
    assert found["c.PNG"] == ""
    assert found["a.HEIC"] == "files .heic are not read; convert to .png"
