import pytest
import torch
from torch.nn.functional import normalize

from narrows.sparse import (
    MOD,
    Gradient,
    Online,
    combine,
    differentiate,
    learn_dictionary,
    omp,
)
from narrows.sparse.dictionary import replace_idle


def _planted(seed, dim=20, size=50, n=1500, k=3):
    """Unit-norm atoms, and signals that are k of them with normal coefficients."""
    generator = torch.Generator().manual_seed(seed)
    atoms = normalize(torch.randn(size, dim, generator=generator, dtype=torch.float64), dim=1)
    chosen = torch.rand(n, size, generator=generator).topk(k, dim=1).indices
    values = torch.randn(n, k, generator=generator, dtype=torch.float64)
    return atoms, combine(chosen, values, dictionary=atoms)


def _recovered(truth, found):
    """Share of the true atoms found within 1 - |<d, d^>| < 0.01, up to sign and order."""
    return (1 - (truth @ found.T).abs().amax(1) < 0.01).double().mean().item()


@pytest.mark.parametrize("rule", [MOD, lambda: Online(0.0)])
def test_a_small_planted_dictionary_is_recovered(rule):
    truth, signals = _planted(0, dim=10, size=15, n=400, k=2)
    found = learn_dictionary(
        signals, 15, encode=lambda x, d: omp(x, d, k=2), rule=rule(), epochs=40, batch=None
    )
    assert _recovered(truth, found) >= 0.9


@pytest.mark.slow
def test_planted_dictionaries_are_recovered_over_ten_seeds():
    shares = []
    for seed in range(10):
        truth, signals = _planted(seed)
        found = learn_dictionary(
            signals,
            50,
            encode=lambda x, d: omp(x, d, k=3),
            rule=MOD(),
            epochs=100,
            batch=None,
            seed=seed,
        )
        shares.append(_recovered(truth, found))
    assert sum(shares) / 10 >= 0.9


@pytest.mark.parametrize("rule", [MOD(), Online(), Gradient(0.3)])
def test_every_rule_lowers_the_error_and_keeps_unit_norm(rule):
    _, signals = _planted(1, dim=10, size=15, n=400, k=2)
    batch = None if isinstance(rule, MOD) else 100
    errors = []
    for epochs in (0, 10):
        atoms = learn_dictionary(
            signals, 15, encode=lambda x, d: omp(x, d, k=2), rule=rule, epochs=epochs, batch=batch
        )
        torch.testing.assert_close(atoms.norm(dim=1), torch.ones(15, dtype=torch.float64))
        errors.append(omp(signals, atoms, k=2).objective.mean().item())
    assert errors[1] < 0.6 * errors[0]


def test_mod_is_the_least_squares_dictionary():
    truth, signals = _planted(2, dim=6, size=9, n=200, k=2)
    solution = omp(signals, truth, k=2)
    moved = MOD()(truth, signals, solution)
    residual = signals - solution.codes @ moved
    assert (solution.codes.T @ residual).abs().max() < 1e-10  # the normal equations


def test_online_sums_over_batches_are_those_of_all():
    truth, signals = _planted(3, dim=6, size=9, n=200, k=2)
    rule = Online(forget=0.0)
    rule(truth, signals, omp(signals, truth, k=2))
    codes = omp(signals, truth, k=2).codes
    torch.testing.assert_close(rule.sums[0], codes.T @ codes)
    halves = Online(forget=0.999999999)
    for half in signals.split(100):
        halves(truth, half, omp(half, truth, k=2))
    torch.testing.assert_close(halves.sums[0], rule.sums[0], rtol=1e-6, atol=1e-6)


def test_the_same_seed_gives_the_same_dictionary():
    _, signals = _planted(4, dim=6, size=9, n=200, k=2)
    one, two, other = (
        learn_dictionary(signals, 9, encode=lambda x, d: omp(x, d, k=2), epochs=2, seed=seed)
        for seed in (0, 0, 1)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_idle_and_twin_atoms_make_room_for_the_worst_signals():
    atoms = torch.eye(4, dtype=torch.float64)
    atoms[3] = atoms[2]
    signals = torch.tensor([[1.0, 2, 3, 4], [4.0, 3, 2, 1], [1, 0, 0, 0]]).double()
    uses = torch.tensor([50.0, 0, 50, 50]).double()
    renewed = replace_idle(atoms, signals, uses, torch.tensor([5.0, 9.0, 0.0]).double())
    torch.testing.assert_close(renewed[1], normalize(signals[1], dim=0))
    torch.testing.assert_close(renewed[3], normalize(signals[0], dim=0))
    assert torch.equal(renewed[[0, 2]], atoms[[0, 2]])


def test_a_dictionary_can_be_driven_by_a_task():
    """A label that needs one direction: unsupervised atoms miss it, task-driven ones find it."""
    generator = torch.Generator().manual_seed(0)
    signals = torch.randn(400, 6, generator=generator, dtype=torch.float64)
    signals[:, 0] *= 0.3  # weak, hence the last that coding would spend an atom on
    labels = signals[:, 0]
    atoms = learn_dictionary(signals, 6, encode=lambda x, d: omp(x, d, k=2), epochs=10)
    readout = torch.zeros(6, dtype=torch.float64)

    def loss(atoms, readout):
        unit = normalize(atoms, dim=1)
        found = omp(signals, unit.detach(), k=2)
        values = differentiate(signals, unit, atoms=found.atoms, values=found.values)
        guess = (values * readout[found.atoms]).sum(-1)
        return (guess - labels).square().mean()

    def train(parts, steps=150):
        optimiser = torch.optim.Adam(parts, lr=0.03)
        for _ in range(steps):
            optimiser.zero_grad()
            value = loss(atoms, readout)
            value.backward()
            optimiser.step()
        return value.item()

    fixed = train([readout.requires_grad_()])
    driven = train([readout, atoms.requires_grad_()])
    assert driven < 0.5 * fixed


@pytest.mark.parametrize(
    "wrong", [dict(size=0), dict(signals=torch.zeros(0, 4)), dict(batch=0), dict(epochs=-1)]
)
def test_impossible_requests_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        learn_dictionary(
            **{
                "signals": torch.randn(9, 4),
                "size": 3,
                "encode": lambda x, d: omp(x, d, k=1),
                **wrong,
            }
        )
    with pytest.raises(ValueError, match="forget"):
        Online(1.0)
    with pytest.raises(ValueError, match="step size"):
        Gradient(0.0)
