import pytest
import torch

from narrows.functional.straight_through import rotate


def _pairs(n=20, dim=6):
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(n, dim, generator=generator, dtype=torch.float64) for _ in range(2))


def _jacobian(e, q):
    return torch.autograd.functional.jacobian(lambda x: rotate(x, q), e)


def test_the_value_is_the_code_bit_for_bit():
    e, q = _pairs()
    assert torch.equal(rotate(e, q), q)


def test_the_jacobian_is_a_scaled_rotation_that_takes_the_features_to_the_code():
    for e, q in zip(*_pairs(), strict=True):
        jacobian = _jacobian(e, q)
        scale = q.norm() / e.norm()
        eye = torch.eye(6, dtype=torch.float64)
        assert torch.allclose(jacobian @ e, q)
        assert torch.allclose(jacobian @ jacobian.T, scale**2 * eye)
        assert torch.linalg.det(jacobian / scale).item() == pytest.approx(1)


def test_directions_outside_the_plane_are_only_scaled():
    e, q = (pair[0] for pair in _pairs())
    basis = torch.linalg.qr(torch.stack([e, q], 1), mode="complete").Q[:, 2:]
    assert torch.allclose(_jacobian(e, q) @ basis, basis * q.norm() / e.norm())


def test_features_that_are_the_code_get_the_identity():
    e, _ = _pairs()
    assert torch.allclose(_jacobian(e[0], e[0]), torch.eye(6, dtype=torch.float64))


def test_zero_and_opposite_inputs_have_finite_gradients():
    e, _ = _pairs()
    e = e[0]
    zero = torch.zeros_like(e)
    for features, code in ((zero, e), (e, zero), (zero, zero)):
        assert torch.equal(_jacobian(features, code), torch.eye(6, dtype=torch.float64))
    opposite = _jacobian(e, -2 * e)
    assert torch.allclose(opposite @ e, -2 * e)
    assert torch.allclose(opposite @ opposite.T, 4 * torch.eye(6, dtype=torch.float64))


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape and dtype"):
        rotate(torch.zeros(2), torch.zeros(3))
