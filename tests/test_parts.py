"""Where a part belongs, another thing is refused with what was needed and what came."""

import pytest

import narrows as nw
from narrows.bottlenecks import Categorical, Identity, SparseDictionary, Split, VectorQuantizer
from narrows.recorded import Recorded

WRONG = {
    "none": lambda: VectorQuantizer(8, 4, learning=None),
    "a name": lambda: SparseDictionary(8, 4, coder="omp"),
    "another part": lambda: Categorical(4, estimator=Identity(2)),
    "one in a list": lambda: Split([Identity(2), 3]),
    "no list": lambda: Split(None),
    "a class": lambda: nw.Autoencoder((1, 8, 8), Identity),
    "of a model": lambda: nw.Autoencoder((1, 8, 8), Identity(2), likelihood="normal"),
    "of a layer": lambda: nw.Layer("vq"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_what_is_no_part_is_refused_in_a_sentence(wrong):
    with pytest.raises(TypeError, match=r"^\w+: expected \w+ to be an? .*; got "):
        wrong()


def test_parts_of_one_s_own_are_checked_too():
    class Inner(Recorded):
        pass

    class Outer(Recorded):
        def __init__(self, inner: Inner | None = None) -> None:
            self.inner = inner

    Outer()
    Outer(Inner())
    with pytest.raises(TypeError, match="Outer: expected inner to be an Inner, made with"):
        Outer(3)


def test_a_name_is_no_data_set():
    with pytest.raises(TypeError, match=r"got 'digits'; load it"):
        nw.fit(nw.Autoencoder((1, 8, 8), Identity(2)), "digits")
