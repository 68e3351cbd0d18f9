"""A traversal moves one dimension of a code, of whatever kind, and nothing else."""

import pytest
import torch

import narrows as nw
from narrows.bottlenecks import (
    FiniteScalarQuantizer,
    Identity,
    ResidualQuantizer,
    SparseDictionary,
    Split,
    TopK,
    Variational,
    VectorQuantizer,
)
from narrows.codes import Atoms
from narrows.generation import set_coefficient, set_index, traverse
from narrows.networks import Conv


def model_of(bottleneck):
    torch.manual_seed(0)
    return nw.Autoencoder.for_images((1, 8, 8), bottleneck, network=Conv(8)).eval()


def image():
    return torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("bottleneck", [Identity(3), Variational(3)], ids=["plain", "variational"])
def test_a_feature_is_set_at_all_sites(bottleneck):
    model = model_of(bottleneck)
    images = traverse(model, image(), values=[-1.0, 0.0, 1.0], dimensions=[1])
    code = model.encode(image())
    code[..., 1] = 1.0
    assert torch.allclose(images[0, 2], model.decode(code)[0], atol=1e-6)
    assert traverse(model, image(), values=[0.0, 1.0]).shape == (3, 2, 1, 8, 8)


@pytest.mark.parametrize(
    "bottleneck",
    [
        VectorQuantizer(8, 4),
        ResidualQuantizer(VectorQuantizer(8, 4), stages=2),
        FiniteScalarQuantizer([4, 4]),
    ],
    ids=["vq", "residual", "finite"],
)
def test_an_index_is_replaced_where_it_stands(bottleneck):
    model = model_of(bottleneck)
    code = model.encode(image())
    places = code[0].numel()
    images = traverse(model, image(), values=[0, 3])
    assert images.shape == (places, 2, 1, 8, 8)
    for place in (0, places - 1):
        moved = code.flatten(1).clone()
        moved[0, place] = 3
        expected = model.decode(moved.view(code.shape))[0]
        assert torch.allclose(images[place, 1], expected, atol=1e-6)
    unchanged = traverse(model, image(), values=[int(code.flatten()[0])], dimensions=[0])
    assert torch.allclose(unchanged[0, 0], model.reconstruct(image())[0], atol=1e-6)


def test_an_atom_gets_its_coefficient_at_all_sites_and_no_other_changes():
    code = Atoms(
        torch.tensor([[[1, 4], [2, 0]]]),
        torch.tensor([[[1.0, -2.0], [3.0, 0.0]]]),
    )

    def dense(code):
        return torch.zeros(1, 2, 6).scatter_add(-1, *code)

    for atom in (0, 1, 4):
        for value in (0.0, 0.7):
            expected = dense(code)
            expected[..., atom] = value
            moved = set_coefficient(code, atom, value=value)
            assert torch.equal(dense(moved), expected)
            assert int((moved[1] != 0).sum()) == int((expected != 0).sum())  # no atom twice


def test_traversals_of_sparse_codes_have_a_row_for_every_atom():
    model = model_of(SparseDictionary(6, 4, coder=TopK(2)))
    images = traverse(model, image(), values=[0.0, 2.0])
    assert images.shape == (6, 2, 1, 8, 8)
    code = set_coefficient(model.encode(image()), 5, value=2.0)
    assert torch.allclose(images[5, 1], model.decode(code)[0], atol=1e-6)


def test_indices_are_counted_in_raster_order():
    code = torch.arange(8).view(1, 2, 2, 2)
    assert int(set_index(code, 5, value=9)[0, 1, 0, 1]) == 9
    assert int((set_index(code, 5, value=9) != code).sum()) == 1


def test_what_cannot_be_traversed_is_refused_with_the_reason():
    x = image()
    with pytest.raises(ValueError, match="one image"):
        traverse(model_of(Identity(3)), x.repeat(2, 1, 1, 1), values=[0.0])
    with pytest.raises(ValueError, match=r"dimensions in 0..2"):
        traverse(model_of(Identity(3)), x, values=[0.0], dimensions=[3])
    for value in (8, -1, 0.5):
        with pytest.raises(ValueError, match="indices in"):
            traverse(model_of(VectorQuantizer(8, 4)), x, values=[value])
    with pytest.raises(TypeError, match="several parts"):
        traverse(model_of(Split([Identity(2), VectorQuantizer(8, 4)])), x, values=[0.0])
