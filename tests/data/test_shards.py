"""Examples in several files: alike, checked at the door, left on the disk, unchanged while read."""

import os
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import narrows as nw
from narrows.data import from_array, from_arrays, from_shards, load, write_shards
from narrows.data.batching import batches
from narrows.data.mapped import MappedSplit
from narrows.data.reading.arrays import ArrayFile

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (60, 3, 4, 5), dtype=np.uint8)
LABELS = np.repeat([0, 1, 2], 20)


def saved(folder, values, *, at=(20, 45), kind="npy", labels=None):
    folder.mkdir(exist_ok=True)
    for number, part in enumerate(np.split(values, at)):
        own = None if labels is None else np.split(labels, at)[number]
        if kind == "npy":
            np.save(folder / f"{number}.npy", part)
            if own is not None:
                np.save(folder / f"{number}.labels.npy", own)
        else:
            content = {"x": torch.from_numpy(part.copy())}
            if own is not None:
                content["labels"] = torch.from_numpy(own.copy())
            save_file(content, folder / f"{number}.safetensors")
    return folder


def same(one, other):
    """Whether two data sets hold the same examples and labels in the same order."""
    for name in ("train", "validation", "test"):
        a, b = getattr(one, name), getattr(other, name)
        assert torch.equal(a.batch(torch.arange(len(a))), b.batch(torch.arange(len(b))))
        assert (a.labels is None) == (b.labels is None)
        if a.labels is not None:
            assert torch.equal(a.labels, b.labels)
    assert (one.classes, one.shape, one.dtype) == (other.classes, other.shape, other.dtype)
    assert one.fingerprint == other.fingerprint
    assert one.variance == pytest.approx(other.variance, rel=1e-12)


@pytest.mark.parametrize("kind", ["npy", "safetensors"])
def test_shards_give_what_one_array_gives_and_images_stay_uint8(tmp_path, kind):
    folder = saved(tmp_path / "mine", IMAGES, kind=kind, labels=LABELS)
    data = load(f"shards:{folder}")
    assert isinstance(data.train, MappedSplit)
    assert {source.dtype for source in data.train.sources} == {torch.uint8}
    same(data, from_array(IMAGES, LABELS))
    assert "shuffled in buffers of 8,947,848" in data.note  # half a GiB of 60 bytes


@pytest.mark.parametrize("layout", ["nhwc", "nhw"])
def test_images_in_other_layouts_are_turned_batch_by_batch(tmp_path, layout):
    images = IMAGES.transpose(0, 2, 3, 1) if layout == "nhwc" else IMAGES[:, 0]
    same(load(f"shards:{saved(tmp_path / 'm', images)}"), from_array(images, layout=layout))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bool"])
def test_every_type_is_converted_as_in_memory(tmp_path, dtype):
    values = (RANDOM.normal(size=(60, 7)) if dtype != "bool" else IMAGES[:, 0] > 99).astype(dtype)
    same(load(f"shards:{saved(tmp_path / 'm', values)}"), from_array(values))


def test_arrays_in_memory_mapped_or_of_types_that_numpy_lacks_may_be_joined(tmp_path):
    values = RANDOM.normal(size=(60, 7)).astype(np.float16)
    saved(tmp_path, values)
    mapped = [np.load(tmp_path / f"{n}.npy", mmap_mode=mode) for n, mode in enumerate("rcr")]
    for arrays in (mapped, np.split(values, [20, 45]), torch.from_numpy(values).split(25)):
        same(from_arrays(arrays), from_array(values))
    narrow = torch.from_numpy(values).bfloat16()
    same(from_arrays(narrow.split(25)), from_array(narrow))
    data = from_arrays(mapped, LABELS, buffer=10)
    assert (data.train.buffer, data.classes) == (10, ("0", "1", "2"))


def test_files_may_be_named_and_a_buffer_stated(tmp_path):
    folder = saved(tmp_path / "mine", IMAGES)
    data = from_shards([folder / "2.npy", folder / "0.npy"], buffer=7)
    same(data, from_array(np.concatenate([IMAGES[45:], IMAGES[:20]])))
    assert data.train.buffer == 7
    assert "shuffled in buffers of 7" in data.note
    with pytest.raises(ValueError, match="buffer of at least 1 row, got 0"):
        from_shards(folder, buffer=0)


def test_subfolders_named_as_splits_are_splits(tmp_path):
    for name, part in (("train", IMAGES[:40]), ("val", IMAGES[40:50]), ("test", IMAGES[50:])):
        saved(tmp_path / name, part, at=[len(part) // 2])
    data = load(f"shards:{tmp_path}")
    for split, part in ((data.train, IMAGES[:40]), (data.validation, IMAGES[40:50])):
        assert torch.equal(split.images, torch.from_numpy(part))
    np.save(tmp_path / "stray.npy", IMAGES)
    with pytest.raises(ValueError, match=r"stray\.npy is in none of the splits test, train, val"):
        load(f"shards:{tmp_path}")


def _nothing(folder):
    for path in folder.iterdir():
        path.unlink()


def _empty(folder):
    np.save(folder / "1.npy", IMAGES[:0])


def _no_bytes(folder):
    (folder / "1.npy").write_bytes(b"")


def _truncated(folder):
    path = folder / "1.npy"
    path.write_bytes(path.read_bytes()[:-9])


def _pickled(folder):
    np.save(folder / "1.npy", np.array([{}] * 20), allow_pickle=True)


def _other_shape(folder):
    np.save(folder / "1.npy", IMAGES[:, :, :3])


def _other_type(folder):
    np.save(folder / "1.npy", IMAGES.astype(np.float32) / 255)


def _integers(folder):
    for path in folder.glob("*.npy"):
        np.save(path, np.load(path).astype(np.uint16))


def _big_endian(folder):
    for path in folder.glob("*.npy"):
        np.save(path, (np.load(path) / 255).astype(">f4"))


def _bad(value):
    def change(folder):
        for path in folder.glob("*.npy"):
            values = np.load(path).astype(np.float32) / 255
            values[-1, 0, 0, 0] = value if path.name == "2.npy" else 0
            np.save(path, values)

    return change


def _constant(folder):
    for path in folder.glob("*.npy"):
        np.save(path, np.full_like(np.load(path), 7))


def _bits(folder):
    for path in folder.glob("*.npy"):
        np.save(path, np.load(path) % 2)


def _some_labels(folder):
    np.save(folder / "1.labels.npy", LABELS[:25])


def _labels_of_two_kinds(folder):
    for number, rows in enumerate((20, 25, 15)):
        kind = str if number else int
        np.save(folder / f"{number}.labels.npy", np.arange(rows).astype(kind))


def _few_labels(folder):
    np.save(folder / "1.labels.npy", LABELS[:9])


def _activations(folder):
    (folder / "activations.json").write_text("{}")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_nothing, r"holds no \.npy or \.safetensors file"),
        (_empty, r"1\.npy is empty \(shape \(0, 3, 4, 5\)\); leave it out"),
        (_no_bytes, r"1\.npy is truncated or damaged"),
        (_truncated, r"1\.npy is truncated or damaged"),
        (_pickled, r"1\.npy holds pickled Python objects, which are never loaded"),
        (
            _other_shape,
            r"0\.npy has uint8 of shape \(3, 4, 5\), .*1\.npy uint8 of shape \(3, 3, 5\)",
        ),
        (_other_type, r"uint8 of shape .* float32 of shape .*; convert them, or load them apart"),
        (_integers, "expected uint8 with 0..255, got uint16"),
        (_big_endian, r"0\.npy: a mapped array must have this machine's byte order"),
        (_bad(np.nan), "1 of 3600 values are NaN or infinite"),
        (_bad(1e20), "1 of 3600 values are NaN or infinite, or beyond"),
        (_bad(1.5), r"float images must lie in \[0, 1\], got values from 0 to 1\.5"),
        (_constant, "every value is 7 in float32: a constant array"),
        (_bits, "uint8 images count 0..255, but these hold only 0 and 1"),
        (_some_labels, r"2 of 3 files have no labels, such as .*0\.npy; .*labels=none"),
        (_labels_of_two_kinds, "labels must be of one kind"),
        (_few_labels, r"1\.npy: expected one label for each of 25 examples, got .*\(9,\)"),
        (_activations, r"holds activations; load them by activations:"),
    ],
)
def test_shards_that_cannot_be_right_are_refused_in_one_sentence(tmp_path, damage, message):
    folder = saved(tmp_path / "mine", IMAGES)
    damage(folder)
    with pytest.raises(ValueError, match=message) as caught:
        load(f"shards:{folder}")
    assert "\n" not in str(caught.value)


def test_absent_folders_files_and_labels_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder 'nowhere'"):
        load("shards:nowhere")
    with pytest.raises(FileNotFoundError, match=r"there is no file '.*gone\.npy'"):
        from_shards([tmp_path / "gone.npy"])
    folder = saved(tmp_path / "mine", IMAGES)
    with pytest.raises(ValueError, match=r"0\.npy has no labels 'kind'; labels=none goes without"):
        load(f"shards:{folder}", labels="kind")
    with pytest.raises(ValueError, match="at least one array, got none"):
        from_arrays([])
    _some_labels(folder)
    assert load(f"shards:{folder}", labels="none").train.labels is None


@pytest.mark.parametrize("change", ["shorter", "rewritten", "gone"])
def test_a_file_that_changed_since_it_was_opened_is_refused_before_it_is_touched(tmp_path, change):
    folder = saved(tmp_path / "mine", IMAGES)
    data, path = load(f"shards:{folder}"), folder / "1.npy"
    first = torch.arange(len(data.train))[data.train.rows < 20]
    before = path.stat()
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: -90 if change == "shorter" else None])
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    data.train.batch(first)  # of another file
    with pytest.raises(
        ValueError, match=r"1\.npy (has changed|is gone) since it was opened.*resume"
    ):
        data.train.batch(torch.arange(len(data.train)))


def test_a_mapped_array_travels_to_another_process_as_its_path(tmp_path):
    saved(tmp_path, np.zeros((600, 3, 40, 50), np.uint8) + IMAGES[:1, :, :1, :1])
    source = ArrayFile(tmp_path / "0.npy")
    blob = pickle.dumps(source)
    assert len(blob) < 2000
    again = pickle.loads(blob)
    rows = torch.tensor([3, 0])
    assert torch.equal(again.read(rows), source.read(rows))


def test_a_written_folder_gives_the_same_data_without_reading_it(tmp_path, monkeypatch):
    original = from_array(IMAGES, np.array(["a", "b", "c"])[LABELS], name="mine")
    folder = write_shards(original, tmp_path / "out")
    same(load(f"shards:{folder}"), original)
    assert load(f"shards:{folder}").name == "mine"

    def untouched(self, rows):
        raise AssertionError("read")

    monkeypatch.setattr(ArrayFile, "read", untouched)
    monkeypatch.setattr("narrows.data.reading.listed.file_checksum", untouched)
    load(f"shards:{folder}", verify=False)
    with pytest.raises(FileExistsError, match=r"already holds .*; choose another folder"):
        write_shards(original, folder)


def test_vectors_pairs_and_sequences_are_written_with_what_is_known_of_them(tmp_path):
    pairs = nw.data.pairs(torch.randn(40, 3), torch.randn(40, 2))
    same(load(f"shards:{write_shards(pairs, tmp_path / 'pairs')}"), pairs)
    assert load(f"shards:{tmp_path / 'pairs'}").inputs == 3
    for layout, shape in (("nct", (40, 2, 9)), ("ntd", (40, 9, 2)), ("own", (40, 4, 3, 3))):
        data = from_array(RANDOM.normal(size=shape), layout=layout)
        found = load(f"shards:{write_shards(data, tmp_path / layout)}")
        same(found, data)
        assert found.train.features == data.train.features


def test_a_written_folder_that_is_unfinished_or_damaged_is_refused(tmp_path, monkeypatch):
    data = from_array(IMAGES)

    def full(path, content, times=[]):  # noqa: B006 (counts the calls)
        times.append(path)
        if len(times) == 2:
            raise OSError(28, "No space left on device", str(path))
        return write(path, content)

    from narrows.data.reading import shard_folder

    write = shard_folder.write_weights
    monkeypatch.setattr(shard_folder, "write_weights", full)
    with pytest.raises(OSError, match="No space left"):
        write_shards(data, tmp_path / "out")
    with pytest.raises(ValueError, match=r"is unfinished, with 1 shards: write the folder again"):
        load(f"shards:{tmp_path / 'out'}")
    same(load(f"shards:{write_shards(data, tmp_path / 'out')}"), data)
    path = tmp_path / "out" / "train" / "00000.safetensors"
    content = path.read_bytes()
    for damaged, message in ((b"", "is empty"), (content[:-4], "is damaged .it has"),
                             (content[:-4] + b"abcd", "checksum")):  # fmt: skip
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"00000\.safetensors {message}|{message}"):
            load(f"shards:{tmp_path / 'out'}")
    path.unlink()
    with pytest.raises(ValueError, match=r"is missing, which shards\.json lists"):
        load(f"shards:{tmp_path / 'out'}")


def test_the_system_is_asked_for_the_runs_of_a_buffer_and_for_no_others(tmp_path, monkeypatch):
    values = RANDOM.normal(size=(9000, 4)).astype(np.float32)
    data = load(f"shards:{saved(tmp_path / 'm', values, at=[2500, 7000])}", buffer=640)
    asked = []

    def noted(self, first, stop):
        asked.append((int(self.stamp.path.stem), first, stop))

    monkeypatch.setattr(ArrayFile, "will_need", noted)
    train, starts = data.train, torch.tensor([0, 2500, 7000])
    buffer = []
    for index in batches(len(train), 64, buffer=train.buffer, entering=buffer.append):
        del index
        if len(buffer) == 2:
            break
    train.prefetch(buffer[0])
    wanted = {int(row) for row in train.rows[buffer[0]]}
    given = {int(starts[n]) + row for n, first, stop in asked for row in range(first, stop)}
    assert wanted <= given
    assert len(given) < 2 * len(wanted)
    assert len(asked) <= 64 + 2  # places of a buffer, and a run across two files twice
    asked.clear()
    train.prefetch(buffer[0][:0])
    assert asked == []


def test_asking_ahead_changes_nothing_that_is_read(tmp_path):
    data = load(f"shards:{saved(tmp_path / 'm', IMAGES)}", buffer=20)
    for index in batches(len(data.train), 7, buffer=20, entering=data.train.prefetch):
        assert torch.equal(data.train.stored(index), data.train.images[index])
