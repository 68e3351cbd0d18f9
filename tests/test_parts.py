"""Where a part belongs, another thing is refused with what was needed and what came."""

from pathlib import Path

import numpy as np
import pytest
import torch

import narrows as nw
from narrows.bottlenecks import (
    Categorical,
    FiniteScalarQuantizer,
    Identity,
    SparseDictionary,
    Split,
    VectorQuantizer,
)
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


KIND = r"^\w+: expected \w+ to be a (number|whole number|list, each a (whole )?number); got "


@pytest.mark.parametrize(
    ("error", "wrong"),
    [
        (TypeError, lambda: FiniteScalarQuantizer(5)),
        (TypeError, lambda: FiniteScalarQuantizer("555")),
        (TypeError, lambda: FiniteScalarQuantizer([5, 6.5])),
        (TypeError, lambda: FiniteScalarQuantizer(torch.tensor([5, 5]))),
        (TypeError, lambda: FiniteScalarQuantizer([5], scale="1")),
        (TypeError, lambda: VectorQuantizer("16", 4)),
        (ValueError, lambda: VectorQuantizer(16.0, 4)),
        (ValueError, lambda: Identity(2.5)),
        (ValueError, lambda: Identity(True)),
        (TypeError, lambda: nw.networks.Conv([8])),
        (TypeError, lambda: nw.networks.Mlp("64")),
        (TypeError, lambda: nw.Rate(bits_per_dim="1")),
        (TypeError, lambda: nw.Autoencoder(16, Identity(2))),
        (TypeError, lambda: nw.Autoencoder("144", Identity(2))),
        (TypeError, lambda: nw.Autoencoder((1, 4.0, 4), Identity(2))),
        (TypeError, lambda: nw.Autoencoder.for_own_units(16, Identity(2))),
        (TypeError, lambda: nw.Autoencoder((4,), Identity(2), beta=None)),
        (TypeError, lambda: nw.Layer(Identity(2), axis="1")),
    ],
)
def test_what_is_no_such_number_or_list_is_refused_in_a_sentence(error, wrong):
    with pytest.raises(error, match=KIND):
        wrong()


@pytest.mark.parametrize("shape", [(), (0,), (3, -4, 4)])
def test_shapes_of_nothing_are_refused(shape):
    with pytest.raises(ValueError, match="numbers from 1"):
        nw.Autoencoder(shape, Identity(2))


def test_numpy_and_torch_shapes_are_shapes():
    for shape in ([1, 8, 8], np.array([1, 8, 8]), torch.zeros(1, 8, 8).shape):
        assert nw.Autoencoder(shape, Identity(np.int64(2))).shape == (1, 8, 8)


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


MODEL = nw.Autoencoder((1, 8, 8), Identity(2), network=nw.networks.Mlp([4]))
DIGITS = nw.data.load("digits", train_examples=40, test_examples=20)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: nw.fit(MODEL, "digits"), r"got 'digits'; load it"),
        (lambda: nw.fit(MODEL, DIGITS.train), "expected a data set .* data.from_array"),
        (lambda: nw.fit(MODEL.bottleneck, DIGITS), "model to be an Autoencoder.*got Identity"),
        (lambda: nw.fit(MODEL, DIGITS, epochs="2"), "epochs to be a whole number; got '2'"),
        (lambda: nw.fit(MODEL, DIGITS, epochs=1.5), "epochs to be a whole number; got 1.5"),
        (lambda: nw.fit(MODEL, DIGITS, rate=0.5), "rate to be a Rate"),
        (lambda: nw.fit(MODEL, DIGITS, callbacks=nw.training.WeightAverage()), "be a list"),
        (lambda: nw.evaluate(MODEL, DIGITS, variance=1.0), "split to be a Split"),
        (lambda: nw.data.load(Path("photos")), "name to be a word"),
        (lambda: nw.data.load("digits", train_examples=2.5), "train_examples to be a whole"),
        (lambda: nw.Codec(MODEL, "uniform"), "prior to be a Prior"),
        (lambda: MODEL.sample("3"), "n to be a whole number"),
        (lambda: MODEL.sample(-1), "a number of codes, got -1"),
        (lambda: MODEL.decode("codes"), "a code of torch tensors, got str"),
        (lambda: nw.codec.container.unpack("NRWZ"), "the bytes of a file, got str"),
    ],
)
def test_what_a_verb_cannot_take_is_refused_in_a_sentence(wrong, said):
    with pytest.raises((TypeError, ValueError), match=said):
        wrong()
