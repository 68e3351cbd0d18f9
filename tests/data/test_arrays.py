import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from narrows.data import from_array
from narrows.data.checks import infer_layout

RANDOM = np.random.default_rng(0)
BYTES = RANDOM.integers(0, 256, (40, 6, 7), dtype=np.uint8)


def _all(data):
    parts = (data.train, data.validation, data.test)
    return torch.cat([part.batch(torch.arange(len(part))) for part in parts]).numpy()


def _rows(images):
    return sorted(map(tuple, np.asarray(images, np.float32).reshape(len(images), -1)))


@pytest.mark.parametrize(
    "array",
    [
        BYTES,
        BYTES / 255.0,
        (BYTES / 255.0).astype(np.float32),
        torch.from_numpy(BYTES),
        BYTES[:, None],
        BYTES[..., None],
    ],
    ids=["uint8", "float64", "float32", "tensor", "nchw", "nhwc"],
)
def test_the_same_images_in_any_form_give_the_same_data(array):
    data = from_array(array)
    assert data.shape == (1, 6, 7)
    assert data.levels == 256
    np.testing.assert_array_equal(_rows(_all(data)), _rows(BYTES / np.float32(255)))


def test_channels_last_becomes_channels_first():
    images = RANDOM.integers(0, 256, (20, 8, 9, 3), dtype=np.uint8)
    data = from_array(images)
    assert data.shape == (3, 8, 9)
    expected = images.transpose(0, 3, 1, 2) / np.float32(255)
    np.testing.assert_array_equal(_rows(_all(data)), _rows(expected))


def test_floats_between_the_levels_keep_their_values():
    images = RANDOM.random((30, 5, 5))
    data = from_array(images)
    assert data.levels is None
    np.testing.assert_array_equal(_rows(_all(data)), _rows(images))


def test_bool_images_are_black_and_white():
    data = from_array(BYTES > 127)
    assert set(np.unique(_all(data))) == {0.0, 1.0}


def test_vectors_keep_their_own_units():
    vectors = RANDOM.normal(5, 3, (30, 11))
    data = from_array(vectors)
    assert data.shape == (11,)
    np.testing.assert_array_equal(_rows(_all(data)), _rows(vectors))


def test_the_note_says_layout_type_and_range():
    assert from_array(BYTES).note == (
        f"40 images, layout nhw, uint8 with range {BYTES.min()} to {BYTES.max()}, seed 0"
    )
    assert "vectors, layout nd, float64" in from_array(RANDOM.random((20, 4))).note


def test_labels_follow_their_images_and_may_be_names():
    images = np.zeros((30, 2, 2), np.uint8)
    images[:, 0, 0] = np.arange(30)
    names = np.array(["cat", "dog", "ant"])[np.arange(30) % 3]
    data = from_array(images, names)
    assert data.classes == ("ant", "cat", "dog")
    for part in (data.train, data.validation, data.test):
        for image, label in zip(
            part.images[:, 0, 0, 0].tolist(), part.labels.tolist(), strict=True
        ):
            assert data.classes[label] == names[image]


def test_the_split_follows_its_seed():
    assert torch.equal(from_array(BYTES, seed=3).test.images, from_array(BYTES, seed=3).test.images)
    assert not torch.equal(
        from_array(BYTES, seed=3).test.images, from_array(BYTES, seed=4).test.images
    )


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((20, 5), "nd"),
        ((20, 5, 5), "nhw"),
        ((20, 3, 5, 5), "nchw"),
        ((20, 5, 5, 3), "nhwc"),
        ((20, 1, 5, 5), "nchw"),
    ],
)
def test_a_shape_with_one_reading_is_read(shape, layout):
    assert infer_layout(shape) == layout


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((20, 3, 5, 3), "layout='nchw' or layout='nhwc'"),
        ((32, 32, 3), "one image of"),
        ((20, 4, 5, 5), "expected 1 or 3 channels"),
        ((20,), "expected vectors"),
        ((20, 1, 1, 5, 5), "expected vectors"),
    ],
)
def test_a_shape_with_no_reading_or_two_is_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        from_array(RANDOM.random(shape))


def test_a_stated_layout_settles_what_the_shape_does_not():
    assert from_array(RANDOM.random((20, 4, 5, 5)), layout="nchw").shape == (4, 5, 5)
    assert from_array(RANDOM.random((20, 3, 5, 3)), layout="nhwc").shape == (3, 3, 5)
    with pytest.raises(ValueError, match="has 4 axes"):
        from_array(BYTES, layout="nchw")


def _with(value):
    array = RANDOM.random((20, 5, 5))
    array[3, 2, 1] = value
    return array


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((20, 5, 5), 7, np.uint8), "constant"),
        (np.full((20, 5, 5), 0.5), "constant"),
        (_with(np.nan), "1 of 500 values are NaN"),
        (_with(np.inf), "NaN or infinite"),
        (_with(1.5), r"\[0, 1\].*to 1.5; divide by 255"),
        (_with(-0.5), "scale or clamp them"),
        (BYTES.astype(np.float64), "divide by 255"),
        (BYTES.astype(np.int64), r"got int64; convert with .astype\('uint8'\)"),
        (BYTES.astype(np.uint16), "uint16"),
        (BYTES.astype(np.complex64), "complex64"),
        (np.array([["a"] * 5] * 20, dtype=object), "object"),
        (BYTES // 255, "only 0 and 1"),
        (BYTES[:9], "at least 10 are needed"),
        (np.uint8(3), "too few"),
        (np.zeros((20, 0, 5), np.uint8), "empty"),
    ],
)
def test_an_array_that_cannot_be_right_is_refused_in_one_sentence(array, message):
    with pytest.raises(ValueError, match=message) as caught:
        from_array(array)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(39, int), "expected 40 labels"),
        (np.zeros(40), r"integers or names.*\.astype\(int\).*labels=None"),
        (np.eye(4)[np.arange(40) % 4], r"one-hot: use \.argmax\(1\)"),
        (np.array([{}] * 40), "integers or names, got object"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        from_array(BYTES, labels)


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0, 0.1), (0.1, 1.0)])
def test_fractions_that_leave_a_part_empty_are_refused(fractions):
    with pytest.raises(ValueError, match="two shares"):
        from_array(BYTES, fractions=fractions)


def test_names_in_any_kind_of_array_are_classes():
    names = [("dog", "cat")[number % 2] for number in range(40)]
    for labels in (names, np.array(names), np.array(names, object), np.array(names, "S")):
        assert from_array(BYTES, labels).classes == ("cat", "dog")


def test_what_float32_cannot_hold_is_refused_at_the_door():
    for value in (1e300, 1e39, -1e20):
        vectors = RANDOM.random((20, 3))
        vectors[4, 1] = value
        with pytest.raises(ValueError, match="1 of 60 values are NaN or infinite, or beyond"):
            from_array(vectors)
    for same in (1e-60 * RANDOM.random((20, 3)), 1e9 + 1e-3 * RANDOM.random((20, 3))):
        with pytest.raises(ValueError, match="in float32: a constant"):
            from_array(same)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float8_e4m3fn, torch.float16])
def test_tensors_of_types_that_numpy_lacks_are_taken(kind):
    vectors = torch.randn(30, 5, generator=torch.Generator().manual_seed(0)).to(kind)
    np.testing.assert_array_equal(_rows(_all(from_array(vectors))), _rows(vectors.float().numpy()))


def test_labels_of_a_type_that_numpy_lacks_and_ragged_lists_are_refused_with_the_reason():
    floats = torch.zeros(20).to(torch.float8_e5m2)
    with pytest.raises(ValueError, match="labels that are integers or names"):
        from_array(RANDOM.random((20, 3)), floats)
    with pytest.raises(ValueError, match="an array, all rows of one shape"):
        from_array([[0.0, 1.0]] * 19 + [[0.0]])


@pytest.mark.parametrize("shape", [(20, 4, 5, 6), (20, 7, 3), (20, 2, 3, 4, 5)])
def test_examples_in_their_own_units_keep_their_axes_and_values(shape):
    values = RANDOM.normal(3, 10, shape)
    data = from_array(values, layout="own")
    assert (data.shape, data.own_units) == (shape[1:], True)
    np.testing.assert_array_equal(_rows(_all(data)), _rows(values))
    if len(shape) < 5:
        with pytest.raises(ValueError, match="layout='own'"):
            from_array(values)
    assert not from_array(BYTES).own_units


def test_a_split_works_in_torch_s_own_loader():
    data = from_array(BYTES, np.arange(40) % 4)
    images, labels = next(iter(DataLoader(data.train, batch_size=6)))
    assert torch.equal(images, data.train.batch(torch.arange(6)))
    assert torch.equal(labels, data.train.labels[:6])
    vectors = from_array(RANDOM.random((20, 3))).train
    assert sum(len(batch) for batch in DataLoader(vectors, batch_size=5)) == len(vectors)
    assert torch.equal(vectors[-1], vectors[np.int64(len(vectors) - 1)])
    with pytest.raises(IndexError, match=r"row in 0\.\.15"):
        vectors[16]
