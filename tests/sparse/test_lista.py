import pytest
import torch

from narrows.sparse import L1, Lista, fista
from narrows.sparse.fista import largest_eigenvalue


def test_untrained_it_is_ista(problem):
    signals, atoms = problem()
    weight, lipschitz = 0.3, largest_eigenvalue(atoms)
    codes = torch.zeros(20, 30, dtype=torch.float64)
    for _ in range(4):
        ahead = codes - (codes @ atoms - signals) @ atoms.T / lipschitz
        codes = ahead.sign() * (ahead.abs() - weight / lipschitz).clamp_min(0)
    torch.testing.assert_close(Lista(atoms, weight, steps=4)(signals), codes)


def test_nonnegative_layers_go_to_the_nonnegative_lasso(problem):
    signals, atoms = problem()
    penalty = L1(0.3, nonnegative=True)
    codes = Lista(atoms, 0.3, steps=3000, nonnegative=True)(signals)
    assert (codes >= 0).all()
    optimum = fista(signals, atoms, penalty=penalty, tolerance=1e-10)
    torch.testing.assert_close(codes, optimum.codes, atol=1e-5, rtol=0)


def test_training_brings_few_steps_nearer_to_the_optimum(problem):
    signals, atoms = problem(n=500, size=30, dim=12)
    train, test = signals[:400], signals[400:]
    lista = Lista(atoms, 0.5, steps=3)
    optimum = fista(test, atoms, penalty=0.5, tolerance=1e-9).objective
    before = (lista.objective(test) - optimum).mean().item()
    optimiser = torch.optim.Adam(lista.parameters(), lr=3e-3)
    for _ in range(150):
        optimiser.zero_grad()
        lista.objective(train).mean().backward()
        optimiser.step()
    after = lista.objective(test) - optimum
    assert after.mean().item() < 0.35 * before
    assert (after >= -1e-8).all()


def test_its_codes_are_sparse(problem):
    signals, atoms = problem()
    assert (Lista(atoms, 1.0)(signals) == 0).double().mean() > 0.3


@pytest.mark.parametrize("wrong", [dict(weight=-1.0), dict(steps=0)])
def test_impossible_layers_are_refused(wrong, problem):
    with pytest.raises(ValueError, match="expected"):
        Lista(problem()[1], **{"weight": 0.1, **wrong})
