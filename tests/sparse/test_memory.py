"""Memory grows with signals x atoms and with atoms x atoms, never with their product."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from narrows.bottlenecks import OMP, BatchTopK, Lasso, SparseDictionary, TopK
from narrows.sparse import coordinate_descent, differentiate, fista, omp, top_k

pytestmark = pytest.mark.usefixtures("path")

N, K, DIM, ACTIVE = 256, 512, 16, 4


class _Largest(TorchDispatchMode):
    """Notes the largest tensor that any operation makes, backward passes included."""

    def __init__(self):
        super().__init__()
        self.elements, self.operations = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.operations += 1
        for part in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(part, torch.Tensor):
                self.elements = max(self.elements, part.numel())
        return out


@pytest.mark.parametrize("gradient", ["straight_through", "implicit"])
@pytest.mark.parametrize(
    "code",
    [TopK(ACTIVE), BatchTopK(ACTIVE), OMP(ACTIVE), Lasso(0.5)],
    ids=["TopK", "BatchTopK", "OMP", "Lasso"],
)
def test_a_training_step_makes_nothing_larger_than_its_correlations(code, gradient):
    torch.manual_seed(0)
    bottleneck = SparseDictionary(K, DIM, coder=code, gradient=gradient)
    features = torch.randn(N, DIM, generator=torch.Generator().manual_seed(1))
    bottleneck.update([bottleneck(features)])
    with _Largest() as seen:
        latent = bottleneck(features.requires_grad_())
        (latent.z.sum() + sum(term.sum() for term in latent.terms.values())).backward()
        bottleneck.update([latent])
    assert features.grad is not None
    assert seen.operations > 50
    assert seen.elements <= max(N * K, K * K)


@pytest.mark.parametrize(
    "solve",
    [
        lambda x, d: fista(x, d, penalty=1.5),
        lambda x, d: coordinate_descent(x, d, penalty=1.5),
        lambda x, d: omp(x, d, k=ACTIVE),
        lambda x, d: top_k(x, d, k=ACTIVE, refit=True),
    ],
    ids=["fista", "coordinate_descent", "omp", "top_k"],
)
def test_neither_does_a_solver_nor_its_exact_gradient(solve, problem):
    signals, atoms = problem(n=N, size=K, dim=DIM, dtype=torch.float32)
    with _Largest() as seen:
        found = solve(signals, atoms)
        signals.requires_grad_()
        atoms.requires_grad_()
        differentiate(signals, atoms, atoms=found.atoms, values=found.values).sum().backward()
    assert atoms.grad is not None
    assert seen.elements <= max(N * K, K * K)
