"""Folders of sound: real WAV and FLAC files, whole and damaged."""

import wave

import numpy as np
import pytest
import torch

import narrows as nw
from narrows.data.reading.sound import UnusableSoundError, read_sound, windows

soundfile = pytest.importorskip("soundfile")
RATE = 8000


def sound(number: int, samples: int = 500, channels: int = 1) -> np.ndarray:
    """A tone of its own for each number, `[samples, channels]` in steps of 16 bits."""
    steps = np.arange(samples)[:, None] * (1 + np.arange(channels))
    return np.rint(8000 * np.sin((0.1 + 0.01 * number) * steps)) / 32768


def write_wave(path, values, rate: int = RATE) -> None:
    """A 16-bit WAV file as Python's own library writes it."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(values.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.rint(32768 * values).astype("<i2").tobytes())


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "sounds"
    place.mkdir()
    for number in range(12):
        if number % 2:
            soundfile.write(place / f"{number:02}.flac", sound(number), RATE)
        else:
            write_wave(place / f"{number:02}.wav", sound(number))
    return place


def load(folder, **options) -> nw.data.Dataset:
    options.setdefault("samples", 200)
    return nw.data.load(f"audio:{folder}", **options)


def test_files_of_both_kinds_and_both_writers_keep_their_samples(folder):
    for number, path in enumerate(sorted(folder.iterdir())):
        values, rate = read_sound(path)
        assert rate == RATE
        np.testing.assert_array_equal(values, sound(number).T.astype(np.float32))


@pytest.mark.parametrize(("samples", "length"), [(500, 200), (400, 200), (200, 200), (401, 7)])
def test_windows_cover_the_file_and_no_more(samples, length):
    values = np.arange(2 * samples, dtype=np.float32).reshape(2, samples)
    cut = windows(values, length)
    assert len(cut) == -(-samples // length)
    assert set(cut.ravel()) == set(values.ravel())
    np.testing.assert_array_equal(cut[0], values[:, :length])
    np.testing.assert_array_equal(cut[-1], values[:, -length:])


def test_windows_are_in_the_units_of_the_file_with_their_rate(folder):
    data = load(folder)
    assert (data.shape, data.rate, data.own_units) == ((1, 200), RATE, True)
    assert sum(map(len, (data.train, data.validation, data.test))) == 12 * 3
    assert data.note == (
        "36 windows of 200 samples (0.025 s at 8000 Hz) of 12 files, divided by file, seed 0"
    )
    assert load(folder, samples=None, seconds=0.02).shape == (1, 160)


def test_all_windows_of_a_file_are_in_one_part(folder):
    data = load(folder, fractions=(0.25, 0.25))
    known = {windows(sound(n).T.astype(np.float32), 200)[0].tobytes(): n for n in range(12)}
    places = [
        {known[first.numpy().tobytes()] for first in part.images[::3]}
        for part in (data.train, data.validation, data.test)
    ]
    assert [len(part) for part in (data.train, data.validation, data.test)] == [18, 9, 9]
    assert [*map(len, places)] == [6, 3, 3]
    assert set.union(*places) == set(range(12))
    assert not torch.equal(
        data.test.images, load(folder, fractions=(0.25, 0.25), seed=1).test.images
    )


def test_subfolders_are_splits_or_classes(folder):
    for name in ("one", "two"):
        (folder / name).mkdir()
    for number, path in enumerate(sorted(folder.glob("*.*"))):
        path.rename(folder / ("one", "two")[number % 2] / path.name)
    assert load(folder).classes == ("one", "two")
    (folder / "one").rename(folder / "train")
    (folder / "two").rename(folder / "test")
    data = load(folder, fractions=(0.2, 0.2))
    assert data.classes is None
    assert (len(data.test), len(data.train) + len(data.validation)) == (18, 18)


def test_channels_are_kept_or_mixed(folder):
    for path in folder.iterdir():
        path.unlink()
    for number in range(4):
        soundfile.write(folder / f"{number}.wav", sound(number, channels=2), RATE)
    assert load(folder).shape == (2, 200)
    mixed = load(folder, mono=True)
    assert mixed.shape == (1, 200)
    write_wave(folder / "9.wav", sound(9))
    with pytest.raises(ValueError, match=r"channels differ: 2 \(0.wav\) and 1 \(9.wav\); mono"):
        load(folder)


def test_another_sample_rate_is_refused_with_both(folder):
    write_wave(folder / "99.wav", sound(9), rate=16000)
    with pytest.raises(ValueError, match=r"8000 Hz \(00.wav\) and 16000 Hz \(99.wav\); resample"):
        load(folder)


def damaged(folder) -> dict[str, str]:
    """Puts a file of each fault into a folder; returns what is said of it."""
    whole = {end: (folder / f"0{n}{end}").read_bytes() for n, end in ((0, ".wav"), (1, ".flac"))}
    (folder / "a.wav").write_bytes(whole[".wav"][:300])
    (folder / "b.flac").write_bytes(whole[".flac"][: len(whole[".flac"]) // 2])
    (folder / "c.wav").write_bytes(b"no sound at all" * 50)
    (folder / "d.wav").write_bytes(b"")
    write_wave(folder / "e.wav", np.zeros((500, 1)))
    write_wave(folder / "f.wav", sound(1, samples=150))
    values = sound(1)
    values[3] = np.nan
    soundfile.write(folder / "g.wav", values, RATE, subtype="FLOAT")
    (folder / "h.mp3").write_bytes(b"ID3")
    soundfile.write(folder / "i.wav", sound(1), RATE, format="AIFF")
    (folder / "notes.txt").write_text("passed over")
    return {
        "a.wav": "truncated", "b.flac": "damaged", "c.wav": "damaged", "d.wav": "empty file",
        "e.wav": "silent", "f.wav": "150 samples, shorter than a window of 200", "g.wav": "NaN",
        "h.mp3": "files .mp3 are not read", "i.wav": "AIFF is not read",
    }  # fmt: skip


def test_what_cannot_be_used_is_counted_and_named(folder):
    faults = damaged(folder)
    with pytest.warns(UserWarning, match="9 of 21 files were left out: a.wav: truncated"):
        data = load(folder)
    assert len(data.train) + len(data.validation) + len(data.test) == 36
    said = dict(line.split(": ", 1) for line in data.origin.skipped)
    assert said.keys() == faults.keys()
    for name, reason in faults.items():
        assert reason in said[name]


def test_too_few_files_and_impossible_windows_are_refused(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="in seconds or in samples, got both"):
        load(folder, seconds=1.0)
    with pytest.raises(ValueError, match="at least 1 sample"):
        load(folder, samples=0)
    with pytest.raises(ValueError, match=r"at least 3 are needed .* has 12, of which 12 cannot"):
        load(folder, samples=501)


def test_a_path_that_is_no_file_is_not_read(tmp_path):
    with pytest.raises(UnusableSoundError, match="not a regular file"):
        read_sound(tmp_path)
