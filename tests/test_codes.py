"""Operations on codes treat all kinds alike; descriptions of codes accept these and no others."""

import pytest
import torch

from narrows import bottlenecks
from narrows.codes import (
    Atoms,
    AtomValues,
    Indices,
    Several,
    Values,
    apply,
    concatenate,
    is_discrete,
    length,
    rows,
    tensors,
    to,
)

INDEX = torch.tensor([[0, 3], [1, 2], [4, 4]])
VALUES = torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(0))
ATOMS = Atoms(
    torch.tensor([[[1, 2]], [[0, 3]], [[2, 0]]]), torch.tensor([[[1.0, 2]], [[3, 4]], [[5, 0]]])
)
NESTED = (INDEX, (VALUES, ATOMS))
CODES = [INDEX, VALUES, ATOMS, NESTED]


def same(one, two):
    return type(one) is type(two) and all(map(torch.equal, tensors(one), tensors(two)))


@pytest.mark.parametrize("code", CODES, ids=["indices", "values", "atoms", "nested"])
def test_a_code_cut_into_batches_and_joined_again_is_the_same(code):
    pieces = [rows(code, slice(0, 1)), rows(code, slice(1, 3))]
    assert [length(piece) for piece in pieces] == [1, 2]
    assert same(concatenate(pieces), code)
    order = torch.tensor([2, 0, 1])
    assert same(rows(rows(code, order), order.argsort()), code)
    assert same(to(code, "cpu"), code)


def test_joined_atoms_are_padded_to_the_widest():
    wide = Atoms(torch.tensor([[[0, 1, 2]]]), torch.tensor([[[7.0, 8, 9]]]))
    joined = concatenate([ATOMS, wide])
    assert joined.atoms.shape == joined.values.shape == (4, 1, 3)
    assert torch.equal(joined.coefficients(4)[:3], ATOMS.coefficients(4))


def test_coefficients_stand_at_their_atoms():
    assert ATOMS.coefficients(4).flatten(1).tolist() == [[0, 1, 2, 0], [3, 0, 0, 4], [0, 0, 5, 0]]


def test_a_function_reaches_every_tensor_of_a_nested_code():
    doubled = apply(lambda tensor: 2 * tensor, NESTED)
    assert [torch.equal(b, 2 * a) for a, b in zip(tensors(NESTED), tensors(doubled), strict=True)]
    assert isinstance(doubled[1][1], Atoms)


def test_a_code_with_a_floating_point_tensor_is_not_discrete():
    assert all(is_discrete(code) for code in (INDEX, (INDEX, INDEX)))
    assert not any(is_discrete(code) for code in (VALUES, ATOMS, NESTED))


SPACES = [
    (Indices(5), (2,), INDEX),
    (Indices(5, channels=2), (), INDEX),
    (Values(5), (2,), VALUES),
    (AtomValues(4, 2), (1,), ATOMS),
    (Several((Indices(5), Several((Values(5), AtomValues(4, 2))))), None, NESTED),
]


@pytest.mark.parametrize(("space", "sites", "code"), SPACES, ids=lambda value: str(value)[:12])
def test_a_space_accepts_its_own_codes_and_refuses_all_others(space, sites, code):
    assert same(space.check(code, sites), code)
    assert same(space.assemble(iter(tensors(code))), code)
    for other in CODES:
        if other is not code:
            with pytest.raises(ValueError, match="expected"):
                space.check(other, sites)


@pytest.mark.parametrize(
    ("space", "code", "bound"),
    [
        (Indices(4), INDEX, "0..3, got 0..4"),
        (Indices(5), INDEX - 1, "0..4, got -1..3"),
        (Indices(5, partial=True), INDEX - 2, "-1..4, got -2..2"),
        (AtomValues(3, 2), ATOMS, "0..2, got 0..3"),
    ],
)
def test_an_index_outside_the_bound_is_refused_naming_it(space, code, bound):
    with pytest.raises(ValueError, match=bound):
        space.check(code)


def test_sites_other_than_expected_are_refused():
    for space, code in ((Indices(5), INDEX), (Values(5), VALUES), (AtomValues(4, 2), ATOMS)):
        with pytest.raises(ValueError, match=r"shape \[batch, 3, 3"):
            space.check(code, (3, 3))


@pytest.mark.parametrize(
    "bottleneck",
    [
        bottlenecks.Identity(4),
        bottlenecks.Variational(2),
        bottlenecks.SpikeAndSlab(2),
        bottlenecks.Categorical(3, 2),
        bottlenecks.VectorQuantizer(8, 4),
        bottlenecks.ResidualQuantizer(bottlenecks.VectorQuantizer(8, 4), 3),
        bottlenecks.FiniteScalarQuantizer([3, 3]),
        bottlenecks.LookupFreeQuantizer(3),
        bottlenecks.SimVQ(8, 4),
        bottlenecks.SparseDictionary(8, 4, coder=bottlenecks.TopK(2)),
        bottlenecks.SoftmaxDictionary(8, 4, k=2),
        bottlenecks.Split([bottlenecks.Categorical(3), bottlenecks.SoftmaxDictionary(8, 4, k=2)]),
    ],
    ids=lambda bottleneck: type(bottleneck).__name__,
)  # fmt: skip
def test_each_bottleneck_makes_codes_of_the_kind_it_declares(bottleneck):
    latent = bottleneck.eval()(torch.randn(3, 2, 2, bottleneck.in_features))
    space = bottleneck.codes
    assert same(space.check(latent.code, (2, 2)), latent.code)
    assert same(space.assemble(iter(tensors(latent.code))), latent.code)
    assert torch.equal(bottleneck.embed(latent.code), latent.z)
