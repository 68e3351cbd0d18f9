"""What is changed in a code is what was asked for, and it decodes as `Autoencoder.decode` says."""

import json

import pytest
import torch

import narrows as nw
from narrows.codes import Atoms, Indices, apply, tensors
from narrows.explore import Subject, alternatives, between, changed
from narrows.explore.display import Display
from narrows.explore.edits import Change, joined, parts, sizes, split
from narrows.explore.filed import filed
from narrows.explore.wire import from_wire, to_changes, to_wire
from tests.families import FAMILIES

SHAPE = (1, 8, 8)
X = torch.rand(6, *SHAPE, generator=torch.Generator().manual_seed(0))


def model_of(name):
    torch.manual_seed(0)
    network = nw.Conv(hidden=8, residual_layers=1, residual_hidden=4, downsamplings=1)
    return nw.Autoencoder.for_images(SHAPE, FAMILIES[name](), network=network).eval()


def dense(space, code):
    """Every part as one tensor with an entry for each place."""
    found = []
    for part, held in zip(parts(space), split(space, code), strict=True):
        if isinstance(held, Atoms):
            found.append(held.coefficients(part.size))
        elif isinstance(part, Indices) and part.channels is None:
            found.append(held[..., None])
        else:
            found.append(held)
    return found


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_can_be_explored(name):
    model = model_of(name)
    subject = Subject(name, model, usual=X, display=Display(SHAPE))
    space, code = subject.space, model.encode(X[:1])
    sent = json.loads(json.dumps(to_wire(space, code)))
    read = from_wire(space, model.sites, sent)
    assert all(map(torch.equal, dense(space, read), dense(space, code)))
    for number, part in enumerate(parts(space)):
        before = dense(space, code)
        place = tuple(size // 2 for size in before[number].shape[1:-1])
        last = sum(sizes(part)) // 2 if not isinstance(part, Indices) else len(part.each) - 1
        old = float(before[number][(0, *place, last)])
        new = (old + 1) % part.each[last] if isinstance(part, Indices) else old + 0.5
        moved = changed(space, code, change=Change(number, (*place, last), new))
        before[number][(0, *place, last)] = new
        assert all(map(torch.equal, dense(space, moved), before))
        again = from_wire(space, model.sites, to_wire(space, moved))
        torch.testing.assert_close(model.decode(again), model.decode(moved))
        if "values" not in str(part.words) or isinstance(part, Indices):
            site = (*place, last) if isinstance(part, Indices) else place
            assert subject.palette(code, part=number, site=site)["choices"]
    shown = subject.encoded(X[0])
    assert shown["mse"] == pytest.approx(
        float((X[0] - model.reconstruct(X[:1])[0]).square().mean())
    )
    described = json.loads(json.dumps(subject.describe()))
    if not described["draw"]:
        assert subject.show(subject.draw(seed=0))["decoded"]
    other = model.encode(X[1:2])
    for t, end in ((0.0, code), (1.0, other)):
        point = between(space, code, b=other, t=t)
        torch.testing.assert_close(dense(space, point), dense(space, end))
    json.dumps(shown, allow_nan=False)


def test_alternatives_are_one_change_each():
    model = model_of("sparse top-k")
    space, code = model.bottleneck.codes, model.encode(X[:1])
    changes = [Change(0, (1, 2, atom), 0.0) for atom in range(16)]
    many = alternatives(space, code, changes=changes)
    whole = dense(space, code)[0]
    for atom, coefficients in enumerate(many.coefficients(16)):
        expected = whole[0].clone()
        expected[1, 2, atom] = 0
        assert torch.equal(coefficients, expected)


def test_an_atom_that_is_off_adds_nothing_and_one_that_is_on_its_row():
    model = model_of("sparse top-k")
    space, code = model.bottleneck.codes, model.encode(X[:1])
    off = code
    for atom in code.atoms[0, 2, 2].tolist():
        off = changed(space, off, change=Change(0, (2, 2, atom), 0.0))
    on = changed(space, off, change=Change(0, (2, 2, 5), 2.0))
    added = model.bottleneck.embed(on) - model.bottleneck.embed(off)
    torch.testing.assert_close(added[0, 2, 2], 2 * model.bottleneck.atoms[5])
    assert added.flatten(1, 2).norm(dim=-1).count_nonzero() == 1


def test_a_code_without_any_atom_decodes_and_takes_one():
    model = model_of("sparse top-k")
    none = Atoms(torch.zeros(1, 4, 4, 0).long(), torch.zeros(1, 4, 4, 0))
    assert not model.bottleneck.embed(none).any()
    one = changed(model.bottleneck.codes, none, change=Change(0, (1, 1, 3), 0.5))
    torch.testing.assert_close(
        model.bottleneck.embed(one)[0, 1, 1], 0.5 * model.bottleneck.atoms[3]
    )


BAD = {
    "another part": ("vq ema", Change(1, (0, 0, 0), 1), "part in 0..0"),
    "no such site": ("vq ema", Change(0, (4, 0, 0), 1), "a place below"),
    "a place before the first": ("vq ema", Change(0, (-1, 0, 0), 1), "a place below"),
    "too few coordinates": ("normal", Change(0, (0, 1), 1), "a place below"),
    "no such codeword": ("vq ema", Change(0, (0, 0, 0), 24), "index in 0..23"),
    "half an index": ("vq ema", Change(0, (0, 0, 0), 0.5), "index in 0..23"),
    "no such index of a channel": ("residual of unlike", Change(0, (0, 0, 1), 6), "in 0..5"),
    "no number": ("normal", Change(0, (0, 0, 0), float("nan")), "finite value"),
    "no such atom": ("sparse top-k", Change(0, (0, 0, 16), 1), "a place below"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_change_that_cannot_be_is_refused(what):
    name, change, message = BAD[what]
    model = model_of(name)
    with pytest.raises(ValueError, match=message):
        changed(model.bottleneck.codes, model.encode(X[:1]), change=change)


@pytest.mark.parametrize(
    "sent",
    [
        None, [], [{}], [{"shape": [4, 4], "numbers": [0] * 15}],
        [{"shape": [2, 8], "numbers": [0] * 16}],
        [{"shape": [4, 4], "numbers": [99] * 16}], [{"shape": [4, 4], "numbers": [0.5] * 16}],
        [{"shape": [4, 4], "numbers": ["0"] * 16}], [{"shape": [4, 4], "numbers": [10**30] * 16}],
    ],
)  # fmt: skip
def test_what_is_no_code_is_refused(sent):
    with pytest.raises(ValueError, match="expected"):
        from_wire(Indices(24), (4, 4), sent)


@pytest.mark.parametrize("sent", [None, [], {}, [1], [{"part": 0, "place": "0", "value": 1}]])
def test_what_is_no_change_is_refused(sent):
    with pytest.raises(ValueError, match="expected"):
        to_changes(sent)


@pytest.mark.parametrize("name", ["vq ema", "residual", "fsq", "plain", "sparse top-k", "rounded"])
def test_bytes_are_those_of_the_codec(name):
    model = model_of(name)
    model.prior = model.prior.fit([model.latent(X)])
    found, blob = filed(model, model.encode(X[:1])), nw.Codec(model).compress(X[:1])
    assert found.code + found.header == len(blob)
    assert found.bits == pytest.approx(float(model.bits(X[:1])))
    assert found.code % 4 == 0


def test_temperature_scales_draws_and_sharpens_walks():
    subject = Subject("n", model_of("normal"), usual=X, display=Display(SHAPE))
    one, half = subject.draw(seed=3), subject.draw(seed=3, temperature=0.5)
    torch.testing.assert_close(half, one / 2)
    model = model_of("vq ema")
    model.prior = nw.priors.CategoricalPrior((4, 4), 24).fit([model.latent(X)])
    cold = Subject("v", model, usual=X, display=Display(SHAPE)).draw(seed=3, temperature=0.01)
    used = model.encode(X).flatten().bincount(minlength=24)
    assert bool((used[cold] == used.max()).all())


def test_a_path_has_no_point_beyond_its_ends():
    model = model_of("split")
    space, code = model.bottleneck.codes, model.encode(X[:1])
    with pytest.raises(ValueError, match=r"t in \[0, 1\]"):
        between(space, code, b=code, t=1.5)
    assert len(tensors(joined(space, split(space, apply(torch.clone, code))))) == 2


def test_completion_keeps_what_is_known_and_says_what_it_needs():
    model = model_of("vq ema")
    subject = Subject("v", model, usual=X, display=Display(SHAPE))
    assert "autoregressive prior" in subject.describe()["complete"]
    model.prior = nw.priors.PixelCNN((4, 4), 24, hidden=8)
    assert not subject.describe()["complete"]
    code = model.encode(X[:1])
    missing = [(2, 1), (3, 3)]
    drawn = {int(subject.completed(code, seed=s, missing=missing)[0, 2, 1]) for s in range(12)}
    kept = subject.completed(code, seed=1, missing=missing) == code
    assert len(drawn) > 3
    assert kept.sum() >= 14
    with pytest.raises(ValueError, match="a site"):
        subject.completed(code, seed=0, missing=[(9, 9)])


def test_a_model_of_other_examples_is_refused():
    with pytest.raises(ValueError, match="one data set together"):
        Subject("v", model_of("plain"), usual=X, display=Display((1, 9, 9)))


def test_an_atom_that_is_switched_on_is_not_rounded_away():
    """Its usual coefficient is one that a file holds, also where signs vary."""
    data, model = nw.data.load("digits"), nw.zoo.load("digits-sparse-topk")
    usual = data.test.batch(torch.arange(64))
    subject = Subject("s", model, usual=usual, display=Display(data.shape))
    space, code = model.bottleneck.codes, model.prior.quantize(model.encode(usual[:1]))
    found = subject.palette(code, part=0, site=(2, 2))
    for choice in found["choices"]:
        atom = choice["place"][-1]
        moved = changed(space, code, change=Change(0, tuple(choice["place"]), choice["value"]))
        atoms, values = tensors(model.prior.quantize(moved))
        assert atom in atoms[0, 2, 2][values[0, 2, 2] != 0].tolist()
