"""Tar files of pictures: decoded once, found again, refused where they are not whole."""

import io
import tarfile
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from narrows.data import from_array, load
from narrows.data.loaders import webdataset
from narrows.data.mapped import MappedSplit
from narrows.saving.writing import sole_writer

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (24, 3, 5, 6), dtype=np.uint8)
LABELS = np.arange(24) % 3


def encoded(image, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(image.squeeze() if len(image) == 1 else image.transpose(1, 2, 0)).save(
        file, kind
    )
    return file.getvalue()


def tarred(path, members, mode="w"):
    """Writes a tar file of names and contents, as webdataset's own writer does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def examples(images, labels=None, first=0):
    for number, image in enumerate(images, first):
        yield f"sets/{number:05}.png", encoded(image)
        if labels is not None:
            yield f"sets/{number:05}.cls", str(labels[number - first]).encode()
        yield f"sets/{number:05}.json", b"{}"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NARROWS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "data" / "webdataset"


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "tars"
    for number, part in enumerate((slice(0, 10), slice(10, 13), slice(13, 24))):
        tarred(made / f"{number}.tar", examples(IMAGES[part], LABELS[part], part.start))
    return made


def same(one, other):
    for name in ("train", "validation", "test"):
        a, b = getattr(one, name), getattr(other, name)
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize("pattern", ["{}/*.tar", "{}"])
def test_tars_give_what_an_array_gives_and_are_decoded_once(folder, cache, monkeypatch, pattern):
    argument = "webdataset:" + pattern.format(folder)
    data = load(argument)
    same(data, from_array(IMAGES, LABELS))
    assert isinstance(data.train, MappedSplit)
    assert data.train.sources[0].dtype == torch.uint8
    assert "shuffled in buffers of" in data.note
    (place,) = cache.iterdir()

    def again(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(webdataset.decoding, "members", again)
    same(load(argument), data)
    tarred(folder / "1.tar", examples(IMAGES[:3], LABELS[:3], 10))
    with pytest.raises(AssertionError, match="decoded again"):
        load(f"webdataset:{folder}/1.tar")
    assert len({*cache.iterdir()} - {place}) == 1


def test_a_decoding_that_was_stopped_goes_on_with_the_tars_that_are_left(
    folder, tmp_path, monkeypatch
):
    done, decode = [], webdataset.decoding.members

    def stops(path):
        done.append(path.name)
        if len(done) == 2:
            raise KeyboardInterrupt
        return decode(path)

    monkeypatch.setattr(webdataset.decoding, "members", stops)
    monkeypatch.setattr(webdataset, "ProcessPoolExecutor", None)
    monkeypatch.setattr(webdataset.multiprocessing, "current_process", lambda: _Daemon)
    with pytest.raises(KeyboardInterrupt):
        load(f"webdataset:{folder}", decoded=str(tmp_path / "d"))
    same(load(f"webdataset:{folder}", decoded=str(tmp_path / "d")), from_array(IMAGES, LABELS))
    assert done == ["0.tar", "1.tar", "1.tar", "2.tar"]


class _Daemon:
    daemon = True


@pytest.mark.parametrize("mode", ["w:gz", "w:xz"])
def test_packed_tars_are_read(tmp_path, mode):
    path = tarred(tmp_path / "t" / f"a.tar.{mode[2:]}", examples(IMAGES, LABELS), mode)
    same(load(f"webdataset:{path}"), from_array(IMAGES, LABELS))


def test_the_layout_is_that_of_webdataset(tmp_path):
    """Of two dots the first ends the name; folders belong to it; other members are passed over."""
    members = [
        (name, content)
        for number, image in enumerate(IMAGES)
        for name, content in (
            (f"a/{number}.seg.png", encoded(image[:, :4])),
            (f"a/{number}.left.PNG", encoded(image)),
            (f"a/{number}.txt", b"words"),
        )
    ]
    path = tarred(tmp_path / "t" / "a.tar", members)
    with pytest.raises(
        ValueError, match=r"a/0 has several pictures \(seg\.png, left\.png\); say by pic"
    ):
        load(f"webdataset:{path}")
    data = load(f"webdataset:{path}", picture="left.png")
    assert data.fingerprint == from_array(IMAGES).fingerprint


def test_pictures_are_scaled_and_in_colour_if_one_is(tmp_path):
    grey = IMAGES[:, :1]
    mixed = [("c.png", encoded(IMAGES[0])), *((f"{n}.png", encoded(x)) for n, x in enumerate(grey))]
    tarred(tmp_path / "t" / "a.tar", mixed)
    tarred(tmp_path / "t" / "b.tar", ((f"{n}.png", encoded(x)) for n, x in enumerate(grey)))
    data = load(f"webdataset:{tmp_path / 't'}")
    assert data.shape == (3, 5, 6)
    whole = np.concatenate([IMAGES[:1], *[np.broadcast_to(grey, IMAGES.shape)] * 2])
    assert data.fingerprint == from_array(whole).fingerprint
    assert load(f"webdataset:{tmp_path / 't'}", channels=1).shape == (1, 5, 6)
    assert load(f"webdataset:{tmp_path / 't'}", size=4).shape == (3, 4, 4)


def test_subfolders_named_as_splits_are_splits(tmp_path):
    for name, part in (("train", slice(0, 12)), ("val", slice(12, 18)), ("test", slice(18, 24))):
        tarred(tmp_path / "t" / name / "a.tar", examples(IMAGES[part]))
    for pattern in ("t", "t/*/*.tar"):
        data = load(f"webdataset:{tmp_path / pattern}")
        assert torch.equal(data.validation.images, torch.from_numpy(IMAGES[12:18]))


def test_what_cannot_be_used_is_counted_and_named(tmp_path):
    broken = [*examples(IMAGES), ("x.png", encoded(IMAGES[0])[:60]), ("y.txt", b"no picture")]
    path = tarred(tmp_path / "t" / "a.tar", broken)
    with pytest.warns(UserWarning, match=r"2 of 26 files were left out: x of a\.tar: damaged"):
        data = load(f"webdataset:{path}")
    assert data.origin.skipped[1] == "y of a.tar: no picture"


def _cut(tmp_path, end):
    path = tarred(tmp_path / "t" / "a.tar", examples(IMAGES))
    path.write_bytes(path.read_bytes()[:end])


def _no_bytes(tmp_path):
    tarred(tmp_path / "t" / "a.tar", [])
    (tmp_path / "t" / "a.tar").write_bytes(b"")


def _damaged_header(tmp_path):
    path = tarred(tmp_path / "t" / "a.tar", examples(IMAGES))
    content = bytearray(path.read_bytes())
    content[content.index(b"sets/00007.png")] ^= 1  # the header's checksum no longer holds
    path.write_bytes(content)


def _no_tar(tmp_path):
    tarred(tmp_path / "t" / "a.tar", [])
    (tmp_path / "t" / "a.tar").write_bytes(bytes(range(256)) * 9)


def _no_pictures(tmp_path):
    tarred(tmp_path / "t" / "a.tar", ((f"{n}.json", b"{}") for n in range(30)))


def _no_members(tmp_path):
    tarred(tmp_path / "t" / "a.tar", [])


def _two_sizes(tmp_path):
    tarred(tmp_path / "t" / "a.tar", examples(IMAGES))
    tarred(tmp_path / "t" / "b.tar", examples(IMAGES[:, :, :4]))


def _two_sizes_in_one(tmp_path):
    tarred(tmp_path / "t" / "a.tar", [*examples(IMAGES), ("z.png", encoded(IMAGES[0, :, :4]))])


def _some_labels(tmp_path):
    tarred(tmp_path / "t" / "a.tar", examples(IMAGES, LABELS))
    tarred(tmp_path / "t" / "b.tar", examples(IMAGES[:9]))


def _again(tmp_path):
    members = [*examples(IMAGES), ("sets/00000.cls", b"1")]
    tarred(tmp_path / "t" / "a.tar", members)


def _too_few(tmp_path):
    tarred(tmp_path / "t" / "a.tar", examples(IMAGES[:5]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_no_bytes, r"a\.tar is empty"),
        (lambda path: _cut(path, 9000), r"a\.tar is truncated or damaged"),
        (
            lambda path: _cut(path, 1024 * 5),
            r"a\.tar is truncated or damaged \(no member and no end",
        ),
        (lambda path: _cut(path, 1024 * 5 + 100), r"a\.tar is truncated or damaged"),
        (_damaged_header, r"a\.tar is truncated or damaged \(no member and no end mark at byte"),
        (_no_tar, r"a\.tar is truncated or damaged"),
        (_no_pictures, r"holds no picture that can be used; it has members \.json"),
        (_no_members, r"holds no picture that can be used; it has members \.none"),
        (_two_sizes, r"different sizes, such as 6x5, 6x4; pass size=N"),
        (_two_sizes_in_one, r"different sizes, such as 6x5 and 6x4 \(z of .*a\.tar\); pass size=N"),
        (_some_labels, r"9 of 33 examples have no \.cls and the others do; .*labels=none"),
        (_again, r"'sets/00000' comes up again after others"),
        (_too_few, "too few examples: at least 10"),
    ],
)
def test_tars_that_cannot_be_right_are_refused_in_one_sentence(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        load(f"webdataset:{tmp_path / 't'}")
    assert "\n" not in str(caught.value)


def test_absent_files_and_other_labels_are_refused(folder):
    with pytest.raises(FileNotFoundError, match=r"no tar file is found at '.*none/\*\.tar'"):
        load(f"webdataset:{folder}/none/*.tar")
    with pytest.raises(ValueError, match="expected labels to be true, false or none, got 'kind'"):
        load(f"webdataset:{folder}", labels="kind")
    assert load(f"webdataset:{folder}", labels="none").train.labels is None


def test_decoded_shards_that_were_damaged_are_named_with_the_way_on(folder, cache):
    load(f"webdataset:{folder}")
    (path, *_) = sorted(cache.glob("*/*.safetensors"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"is damaged .*: remove .*, and the pictures are decoded"):
        load(f"webdataset:{folder}")


def test_who_comes_second_waits_and_finds_what_the_first_decoded(folder, cache, monkeypatch):
    """As two ranks do that load the same files at once."""
    data = load(f"webdataset:{folder}")
    (place,) = cache.iterdir()
    held, release, waits = threading.Event(), threading.Event(), []

    def first():
        with sole_writer(place):
            held.set()
            release.wait()

    holder = threading.Thread(target=first)
    holder.start()
    held.wait()

    def wait(_seconds):
        waits.append(1)
        release.set()
        holder.join()

    monkeypatch.setattr(webdataset.time, "sleep", wait)
    same(load(f"webdataset:{folder}"), data)
    assert len(waits) == 1
