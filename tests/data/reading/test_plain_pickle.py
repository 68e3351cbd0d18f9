import os
import pickle
import struct

import numpy as np
import pytest

from narrows.data.reading.plain_pickle import read_plain


def python2_pickle(array, labels):
    """What Python 2's cPickle, protocol 2, writes for one file of CIFAR-10."""

    def text(value):
        if len(value) < 256:
            return b"U" + bytes([len(value)]) + value
        return b"T" + struct.pack("<i", len(value)) + value

    shape = b"".join(b"J" + struct.pack("<i", size) for size in array.shape)
    numbers = b"".join(b"K" + bytes([label]) for label in labels)
    return (
        b"\x80\x02}q\x01("
        + text(b"data")
        + b"cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85"
        + text(b"b")
        + b"\x87Rq\x04(K\x01"
        + shape
        + b"\x86cnumpy\ndtype\nq\x05"
        + text(b"u1")
        + b"K\x00K\x01\x87Rq\x06(K\x03"
        + text(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tbI00\n"
        + text(array.tobytes())
        + b"tb"
        + text(b"labels")
        + b"]q\x07("
        + numbers
        + b"eu."
    )


ARRAY = np.random.default_rng(0).integers(0, 256, (7, 60), dtype=np.uint8)


def test_a_file_in_python_2s_form_is_read_as_pickle_would_read_it():
    content = python2_pickle(ARRAY, [3, 1, 4, 1, 5, 9, 2])
    ours = read_plain(content)
    theirs = pickle.loads(content, encoding="bytes")
    assert ours.keys() == theirs.keys()
    np.testing.assert_array_equal(ours[b"data"], theirs[b"data"])
    assert ours[b"labels"] == theirs[b"labels"] == [3, 1, 4, 1, 5, 9, 2]


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_what_python_3_writes_is_read_too(protocol):
    written = {"data": np.asfortranarray(ARRAY), "labels": [1, 2], "name": "batch", "more": (1,)}
    if protocol == 5:
        written.pop("data")  # NumPy writes arrays of protocol 5 through a function of its own
    ours = read_plain(pickle.dumps(written, protocol=protocol))
    if protocol < 5:
        np.testing.assert_array_equal(ours.pop("data"), ARRAY)
        written.pop("data")
    assert ours == written


class _Attack:
    ran = False

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "attack",
    [
        _Attack(os.system, "false"),
        _Attack(eval, "1/0"),
        _Attack(np.dtype, "O"),
        _Attack(np.ndarray, (3,)),
        _Attack(np.fromfile, "/dev/null"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_would_run_something_is_refused_unrun(attack, protocol):
    content = pickle.dumps({"data": attack}, protocol=protocol)
    with pytest.raises(ValueError, match="only plain dicts, lists and arrays of bytes"):
        read_plain(content)


@pytest.mark.parametrize("value", [np.arange(5.0), np.array([object()]), 1 + 2j, {1, 2}, _Attack])
def test_other_objects_are_refused(value):
    with pytest.raises(ValueError, match=r"only plain|truncated or damaged"):
        read_plain(pickle.dumps({"data": value}, protocol=4))


def test_a_file_cut_anywhere_is_refused_and_never_crashes():
    content = python2_pickle(ARRAY[:2, :8], [3, 1])
    for end in range(len(content)):
        with pytest.raises(ValueError, match=r"only plain|truncated or damaged"):
            read_plain(content[:end])


def test_an_array_that_is_shorter_than_its_shape_is_refused():
    content = python2_pickle(ARRAY, [1]).replace(
        struct.pack("<i", 7) + b"J", struct.pack("<i", 8) + b"J", 1
    )
    with pytest.raises(ValueError, match="420 bytes"):
        read_plain(content)


def test_values_that_contain_themselves_or_multiply_are_refused_at_once():
    endless = []
    endless.append(endless)
    with pytest.raises(ValueError, match="more than 8 deep"):
        read_plain(pickle.dumps(endless))
    many = [1]
    for _ in range(7):
        many = [many] * 1000  # 10^21 numbers if they were copied
    assert len(read_plain(pickle.dumps(many))) == 1000
