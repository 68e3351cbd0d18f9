import io
import os

import numpy as np
import pytest
import torch
from PIL import Image

from narrows.data import load
from narrows.data.mapped import MappedSplit

RANDOM = np.random.default_rng(0)


def _image(height=8, width=8, channels=3):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return Image.fromarray(RANDOM.integers(0, 256, shape, dtype=np.uint8))


@pytest.fixture
def folder(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(10):
            _image().save(tmp_path / "pets" / name / f"{number}.png")
    return tmp_path / "pets"


def _everything(data):
    parts = (data.train, data.validation, data.test)
    return {
        bytes(row): None if labels is None else int(labels)
        for part in parts
        for row, labels in zip(
            part.stored(torch.arange(len(part))).flatten(1).numpy(),
            part.labels if part.labels is not None else [None] * len(part),
            strict=True,
        )
    }


def test_subfolders_are_classes(folder):
    data = load(f"folder:{folder}")
    assert (data.shape, data.classes, data.name) == ((3, 8, 8), ("cat", "dog"), "pets")
    found = _everything(data)
    assert len(found) == 20
    picture = np.asarray(Image.open(folder / "dog" / "3.png")).transpose(2, 0, 1)
    assert found[picture.tobytes()] == 1


def test_a_flat_folder_has_no_labels_and_a_relative_path_is_found_below_the_root(folder):
    for number in range(10):
        (folder / "cat" / f"{number}.png").rename(folder / f"{number}.png")
    data = load("folder:pets", root=folder.parent)
    assert data.train.labels is None
    assert data.classes is None


def test_large_sets_are_kept_in_a_file_and_give_the_same_batches(folder):
    held = load(f"folder:{folder}", seed=3)
    mapped = load(f"folder:{folder}", seed=3, large=500)
    assert isinstance(mapped.train, MappedSplit)
    index = torch.tensor([5, 0, 11])
    assert torch.equal(mapped.train.batch(index), held.train.batch(index))
    assert torch.equal(mapped.train.batch_labels(index), held.train.batch_labels(index))
    assert mapped.variance == held.variance
    assert torch.equal(mapped.test.images, held.test.images)


def test_different_sizes_are_refused_unless_a_size_is_asked_for(folder):
    _image(9, 12).save(folder / "cat" / "wide.png")
    with pytest.raises(ValueError, match=r"8x8 \(cat/0.png\), 12x9 \(cat/wide.png\); pass size=N"):
        load(f"folder:{folder}")
    assert load(f"folder:{folder}", size=6).shape == (3, 6, 6)
    assert load(f"folder:{folder}", size=(4, 6), channels=1).shape == (1, 4, 6)


def test_a_grey_picture_among_colour_ones_is_repeated(folder):
    grey = _image(channels=1)
    grey.save(folder / "cat" / "grey.png")
    found = _everything(load(f"folder:{folder}"))
    assert np.repeat(np.asarray(grey)[None], 3, 0).tobytes() in found


def _hazards(folder):
    """One of each kind of unusable file, with the word its reason must have."""
    whole = io.BytesIO()
    _image(32, 32).save(whole, "JPEG")
    (folder / "truncated.jpg").write_bytes(whole.getvalue()[:300])
    (folder / "empty.png").write_bytes(b"")
    (folder / "page.gif").write_text("<html>")
    _image().convert("CMYK").save(folder / "print.jpg")
    Image.fromarray(RANDOM.integers(0, 65536, (8, 8), dtype=np.uint16)).save(folder / "deep.png")
    _image().save(folder / "moving.gif", save_all=True, append_images=[_image()])
    os.symlink(folder / "nowhere", folder / "dangling.png")
    return {
        "truncated.jpg": "damaged",
        "empty.png": "empty",
        "page.gif": "not an image",
        "print.jpg": "CMYK",
        "deep.png": "more than 8 bits",
        "moving.gif": "animated",
        "dangling.png": "cannot be read",
    }


def test_unusable_files_are_counted_named_and_left_out(folder):
    reasons = _hazards(folder / "cat")
    with pytest.warns(UserWarning, match=r"7 of 27 files were left out: cat/dangling.png"):
        data = load(f"folder:{folder}")
    assert len(_everything(data)) == 20
    listed = dict(line.split(": ", 1) for line in data.origin.skipped)
    assert listed.keys() == {f"cat/{name}" for name in reasons}
    for name, word in reasons.items():
        assert word in listed[f"cat/{name}"]


def test_files_that_are_not_pictures_by_name_are_not_mentioned(folder):
    (folder / "labels.csv").write_text("a,b")
    (folder / ".hidden.png").write_text("")
    assert load(f"folder:{folder}").origin.skipped == ()


def test_too_few_pictures_are_refused_with_the_reasons(tmp_path):
    _hazards(tmp_path)
    with pytest.raises(ValueError, match=r"at least 10 are needed.* has 7, of which 7 cannot"):
        load(f"folder:{tmp_path}")


def test_a_folder_that_is_not_there_or_bad_options_are_refused(folder):
    with pytest.raises(FileNotFoundError, match="there is no folder 'nowhere'"):
        load("folder:nowhere")
    with pytest.raises(ValueError, match="needs PATH after a colon"):
        load("folder")
    with pytest.raises(ValueError, match="1 or 3 channels"):
        load(f"folder:{folder}", channels=2)
    with pytest.raises(ValueError, match="height and width"):
        load(f"folder:{folder}", size=0)


def _pictures(place, count, colour=(0, 0, 0)):
    place.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = np.asarray(_image()).copy()
        pixels[0, 0] = colour
        Image.fromarray(pixels).save(place / f"{number}.png")


def test_train_val_and_test_below_a_folder_are_the_user_s_splits(tmp_path):
    for split, count, mark in (("Train", 20, 10), ("val", 6, 20), ("test", 8, 30)):
        for name in ("cat", "dog"):
            _pictures(tmp_path / split / name, count, (mark, 0, 0))
    _pictures(tmp_path / "extra", 2)
    with pytest.warns(UserWarning, match="2 of 70 files were left out: extra/0.png"):
        data = load(f"folder:{tmp_path}")
    assert data.classes == ("cat", "dog")
    for part, count, mark in ((data.train, 40, 10), (data.validation, 12, 20), (data.test, 16, 30)):
        assert part.images[:, 0, 0, 0].tolist() == [mark] * count
        assert part.labels.bincount().tolist() == [count // 2] * 2
    assert "test, train, validation" in data.note


def test_a_split_that_is_not_there_is_set_aside_from_training(tmp_path):
    _pictures(tmp_path / "train", 20, (10, 0, 0))
    _pictures(tmp_path / "test", 5, (30, 0, 0))
    data = load(f"folder:{tmp_path}")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [18, 2, 5]
    assert data.test.images[:, 0, 0, 0].unique().tolist() == [30]
    assert data.train.labels is None
    _pictures(tmp_path / "training", 1)
    with pytest.raises(ValueError, match="several subfolders are one split"):
        load(f"folder:{tmp_path}")


def test_a_class_that_is_called_test_alone_is_a_class(tmp_path):
    for name in ("test", "other"):
        _pictures(tmp_path / name, 10)
    assert load(f"folder:{tmp_path}").classes == ("other", "test")


def test_links_to_folders_are_followed_and_loops_are_named(folder, tmp_path):
    _pictures(tmp_path / "elsewhere", 10)
    (folder / "ant").symlink_to(tmp_path / "elsewhere")
    (folder / "cat" / "again").symlink_to(folder)
    (tmp_path / "elsewhere" / "back").symlink_to(folder / "ant")
    with pytest.warns(UserWarning, match="2 of 32 files were left out"):
        data = load(f"folder:{folder}")
    assert data.classes == ("ant", "cat", "dog")
    assert len(_everything(data)) == 30
    assert [line.split(":")[0] for line in data.origin.skipped] == ["ant/back", "cat/again"]


def test_two_links_that_lead_to_each_other_end(folder):
    (folder / "cat" / "d").symlink_to(folder / "dog")
    (folder / "dog" / "c").symlink_to(folder / "cat")
    with pytest.warns(UserWarning, match="a link to a folder that it is in"):
        assert len(load(f"folder:{folder}").classes) == 4


def test_folders_and_formats_that_cannot_be_read_are_named(folder, monkeypatch):
    (folder / "cat" / "phone.heic").write_bytes(b"\0")
    _image().save(folder / "cat" / "camera.jfif", "JPEG")
    scandir = os.scandir

    def refuse(place):
        if str(place).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(place)

    (folder / "locked").mkdir()
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.warns(UserWarning, match="2 of 23 files"):
        data = load(f"folder:{folder}")
    assert data.origin.skipped == (
        "cat/phone.heic: files .heic are not read; convert to .png",
        "locked: this folder cannot be read (Permission denied)",
    )
    assert len(_everything(data)) == 21


def test_a_few_pictures_beside_the_class_folders_are_left_out_and_named(folder):
    _pictures(folder, 2)
    with pytest.warns(UserWarning, match="2 of 22 files were left out: 0.png: it is beside"):
        assert load(f"folder:{folder}").classes == ("cat", "dog")
    _pictures(folder, 5)
    with pytest.warns(UserWarning, match="5 of 25 pictures lie beside .* are no classes"):
        assert load(f"folder:{folder}").classes is None


@pytest.mark.parametrize("large", [1 << 30, 500])
def test_pictures_are_in_colour_if_any_is_and_grey_if_all_are(tmp_path, large):
    for number in range(12):
        _image(channels=1).save(tmp_path / f"{number:02}.png")
    grey = load(f"folder:{tmp_path}", large=large)
    assert grey.shape == (1, 8, 8)
    _image().save(tmp_path / "99.png")  # the last of all
    data = load(f"folder:{tmp_path}", large=large)
    assert data.shape == (3, 8, 8)
    assert np.asarray(Image.open(tmp_path / "99.png")).transpose(2, 0, 1).tobytes() in _everything(
        data
    )
