import pytest
import torch
from torch.nn.functional import normalize

from narrows.sparse import jump_relu, step
from narrows.sparse.activations import above, first_of_each
from narrows.sparse.dead import residual_by_dead


def _draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_atoms_above_their_thresholds_are_those_of_the_dense_product():
    signals, dictionary, thresholds = (
        _draw(700, 5),
        normalize(_draw(12, 5, seed=1)),
        _draw(12).abs(),
    )
    for margin in (0.0, 0.3):
        atoms, listed = above(signals, dictionary, thresholds=thresholds, width=12, margin=margin)
        found = torch.zeros(700, 12, dtype=torch.bool)
        found[torch.arange(700)[:, None].expand(-1, 12)[listed], atoms[listed]] = True
        assert torch.equal(found, signals @ dictionary.T - thresholds > -margin)


def test_where_too_many_atoms_are_above_the_farthest_are_kept():
    signals, dictionary = _draw(50, 5), normalize(_draw(12, 5, seed=1))
    atoms, listed = above(signals, dictionary, thresholds=torch.full((12,), -9.0).double(), width=3)
    assert listed.all()
    wanted = (signals @ dictionary.T).topk(3).indices.sort().values
    assert torch.equal(atoms.sort().values, wanted)


def test_padding_counts_once_as_the_atom_it_repeats():
    atoms = torch.tensor([[3, 0, 0, 0], [0, 0, 0, 0], [5, 2, 1, 0]])
    assert first_of_each(atoms).sum(1).tolist() == [2, 1, 4]


def test_the_kernel_gradient_is_that_of_the_expectation():
    """Of normal z, d E[z H(z - t)] / dt = -t p(t) and d E[H(z - t)] / dt = -p(t)."""
    z = _draw(400_000)
    for t in (0.5, 1.5):
        threshold = torch.full_like(z, t).requires_grad_()
        density = torch.distributions.Normal(0, 1).log_prob(torch.tensor(t)).exp().item()
        (of_value,) = torch.autograd.grad(jump_relu(z, threshold, bandwidth=0.2).mean(), threshold)
        (of_count,) = torch.autograd.grad(step(z, threshold, bandwidth=0.2).mean(), threshold)
        assert of_value.sum().item() == pytest.approx(-t * density, rel=0.03)
        assert of_count.sum().item() == pytest.approx(-density, rel=0.03)


def test_the_kernel_gradient_of_one_value_by_hand():
    z = torch.tensor([2.04, 2.06, 1.96, 3.0], requires_grad=True)
    threshold = torch.full((4,), 2.0, requires_grad=True)
    value = jump_relu(z, threshold, bandwidth=0.1)
    assert value.tolist() == pytest.approx([2.04, 2.06, 0.0, 3.0])
    value.sum().backward()
    assert threshold.grad.tolist() == pytest.approx([-20.0, 0.0, -20.0, 0.0])
    assert z.grad.tolist() == [1.0, 1.0, 0.0, 1.0]


# The auxiliary loss of Gao et al. 2024, and the mistakes that others made in it.


def _dead(k=3, residual=None):
    rows, encoder = _draw(40, 7), _draw(20, 7, seed=1)
    dictionary = normalize(_draw(20, 6, seed=2)).requires_grad_()
    dead = torch.zeros(20, dtype=torch.bool)
    dead[[0, 2, 3, 5, 8, 13, 19]] = True
    residual = _draw(40, 6, seed=3) if residual is None else residual
    loss = residual_by_dead(residual, rows, encoder=encoder, dictionary=dictionary, dead=dead, k=k)
    return loss, (residual, rows, encoder, dictionary, dead)


@pytest.mark.parametrize("k", [1, 3, 7, 50])
def test_the_loss_of_dead_atoms_is_that_of_the_dense_formula(k):
    loss, (residual, rows, encoder, dictionary, dead) = _dead(k)
    products = (rows @ encoder.T).masked_fill(~dead, -torch.inf).relu()
    best = products.topk(min(k, 7), dim=1)
    codes = torch.zeros_like(products).scatter(1, best.indices, best.values)
    assert torch.allclose(loss, (residual - codes @ dictionary).square().sum(1))


def test_the_loss_of_dead_atoms_has_a_k_of_its_own():
    assert not torch.allclose(_dead(1)[0], _dead(3)[0])
    assert torch.equal(_dead(7)[0], _dead(8)[0])  # all seven that are dead


def test_the_loss_of_dead_atoms_teaches_neither_the_residual_nor_living_atoms():
    residual = _draw(40, 6, seed=3).requires_grad_()
    loss, (_, _, _, dictionary, dead) = _dead(residual=residual)
    loss.sum().backward()
    assert residual.grad is None
    assert (dictionary.grad[~dead] == 0).all()
    assert (dictionary.grad[dead] != 0).any()


def test_without_dead_atoms_there_is_no_such_loss():
    nothing = torch.zeros(20, dtype=torch.bool)
    _, (residual, rows, encoder, dictionary, _) = _dead()
    parts = {"encoder": encoder, "dictionary": dictionary, "dead": nothing}
    assert (residual_by_dead(residual, rows, k=3, **parts) == 0).all()
